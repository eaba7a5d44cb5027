#!/bin/sh
# Make the bucket unless it is there. Runs beside the object store, whose administration listens
# on the loopback address alone.
set -eu
bucket=${1:?name the bucket}

administer() {
    echo "$1" | weed shell -master=127.0.0.1:9333
}

if administer "s3.bucket.list" | grep -Eq "^[[:space:]]*${bucket}[[:space:]]"; then
    echo "bucket $bucket is there already"
else
    administer "s3.bucket.create -name=$bucket"
fi
