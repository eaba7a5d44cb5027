#!/bin/sh
# Make a certificate for the servers of compose.tls.yaml, and the authority that vouches for it, in
# docker/certificates. Needs OpenSSL 3.
#   docker/make-certificates.sh [HOST ...]
#
# HOST: names by which other machines reach this one. The authority's key is thrown away at once, so
# that nobody can make another certificate that clients would trust.
set -eu

folder=$(dirname "$0")/certificates
if [ -e "$folder" ]; then
    echo "$folder: is there already; move it away to make new certificates" >&2
    exit 1
fi

unfinished=$(mktemp -d "$(dirname "$folder")/.certificates-XXXXXX") # 0700, as for the passwords
authority=$(mktemp -d)
trap 'rm -rf "$unfinished" "$authority"' EXIT
umask 022

names=DNS:database,DNS:object-store,DNS:localhost
for host in "$@"; do
    case $host in
    *[!0-9.]*) names=$names,DNS:$host ;;
    *) names=$names,IP:$host ;;
    esac
done

# $1: whose; the rest: more options. OpenSSL says how it goes also when it goes well.
certificate() {
    name=$1
    shift
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 825 \
        -subj "/CN=neuroteach $name" "$@" 2>"$authority/log" || {
        cat "$authority/log" >&2
        exit 1
    }
}

certificate authority -addext "keyUsage=critical,keyCertSign" \
    -keyout "$authority/key" -out "$unfinished/authority.crt"
certificate server -addext "subjectAltName=$names" -addext "basicConstraints=critical,CA:FALSE" \
    -addext "keyUsage=critical,digitalSignature" -addext "extendedKeyUsage=serverAuth" \
    -CA "$unfinished/authority.crt" -CAkey "$authority/key" \
    -keyout "$unfinished/server.key" -out "$unfinished/server.crt"
chmod 0644 "$unfinished"/*

mv "$unfinished" "$folder"
echo "certificates are in $folder, valid for 825 days; clients need authority.crt" >&2
