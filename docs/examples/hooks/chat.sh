#!/bin/sh
# A chat message for each withdrawal that needs you: custody approval watch --hook chat.sh
# The webhook's address is a secret: this file, readable by you alone, holds one line: url = "https://…"
set -eu
curl --fail --silent --show-error --max-time 20 --config "$HOME/.config/kura/chat.curl" \
    --json "{\"text\": \"$KURA_EVENT: $KURA_SUBJECT\"}"
