#!/bin/sh
# Make random passwords for compose.yaml, in docker/secrets or the folder that is named.
#   docker/make-secrets.sh [FOLDER]
#
# The containers run as different users (postgres 999, object store and neuroteach 1000), and
# compose mounts a secret file with the owner and mode that it has here. So the files are readable
# by all, and the folder, which no container sees, by its owner alone (0700): on this machine
# nobody else reaches them, and a container has just those that compose.yaml gives it.
set -eu

folder=${1:-$(dirname "$0")/secrets}
if [ -e "$folder" ]; then
    echo "$folder: is there already; passwords that are in use are never written over." \
        "For new ones move it away" >&2
    exit 1
fi

unfinished=$(mktemp -d "$(dirname "$folder")/.secrets-XXXXXX") # 0700
trap 'rm -rf "$unfinished"' EXIT
umask 022

random() {
    od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n'
}

for name in database-superuser database-admin database-worker database-reader \
    store-admin store-worker store-reader; do
    random >"$unfinished/$name"
done

# Who may do what in the object store; the access keys are names, not secrets.
cat >"$unfinished/store-identities" <<EOF
{
  "identities": [
    {
      "name": "neuroteach-admin",
      "credentials": [
        {"accessKey": "neuroteach-admin", "secretKey": "$(cat "$unfinished/store-admin")"}
      ],
      "actions": ["Admin"]
    },
    {
      "name": "neuroteach-worker",
      "credentials": [
        {"accessKey": "neuroteach-worker", "secretKey": "$(cat "$unfinished/store-worker")"}
      ],
      "actions": ["Read:neuroteach", "List:neuroteach", "Write:neuroteach"]
    },
    {
      "name": "neuroteach-reader",
      "credentials": [
        {"accessKey": "neuroteach-reader", "secretKey": "$(cat "$unfinished/store-reader")"}
      ],
      "actions": ["Read:neuroteach", "List:neuroteach"]
    }
  ]
}
EOF

mv "$unfinished" "$folder"
trap - EXIT
echo "passwords for compose.yaml are in $folder; keep a copy where you keep backups" >&2
