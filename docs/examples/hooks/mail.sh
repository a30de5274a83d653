#!/bin/sh
# A mail for each withdrawal that needs you: KURA_MAIL_TO=you@example.org custody approval watch --hook mail.sh
set -eu
: "${KURA_MAIL_TO:?must be your address}"
{
    printf 'To: %s\nSubject: %s: %s\n\n' "$KURA_MAIL_TO" "$KURA_EVENT" "$KURA_SUBJECT"
    cat
} | sendmail -t
