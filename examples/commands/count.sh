#!/bin/sh
# Counts the lines of a file. Payload: its path, as text. See docs/handlers.md for what is said on standard output.
set -eu

trap 'echo "told to stop" >&2; exit 143' TERM

read -r payload
path=${payload#\"}
path=${path%\"}

case $payload in
'"'*'\'*'"') ;; # a path with escapes is more than sh can read
'"'*'"') readable=yes ;;
esac
if [ -z "${readable-}" ]; then
    echo '{"failed": {"code": "BAD_PAYLOAD", "message": "The payload must be a path, as plain text."}}'
    exit
fi
if [ ! -f "$path" ] || [ ! -r "$path" ]; then
    echo '{"failed": {"code": "NO_SUCH_FILE", "message": "There is no such file, or it may not be read."}}'
    exit
fi

echo "counting $path for task $TASK_ID" >&2
echo '{"progress": {"percent": 0, "message": "counting"}}'
lines=$(wc -l <"$path")
echo "{\"result\": {\"lines\": $((lines))}}"
