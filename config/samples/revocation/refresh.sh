#!/bin/sh
# Keeps $FILE equal to the CRLs at $URL: asks every $PERIOD seconds (300 if unset), and runs $RELOAD after each change.
set -eu
reloaded=no
while :; do
	rm -f "$FILE.new"
	# A large file on a slow line takes long. A line that stands still is left.
	if curl -fsS --connect-timeout 30 --speed-limit 1024 --speed-time 30 --etag-compare "$FILE.etag" --etag-save "$FILE.etag.new" -o "$FILE.new" "$URL" &&
		[ -s "$FILE.new" ]; then # empty or missing: not modified
		# A proxy's page or half a file must not replace the CRLs.
		if [ "$(tail -n 1 "$FILE.new")" != "-----END X509 CRL-----" ]; then
			echo "no CRLs at $URL" >&2
		elif ! cmp -s "$FILE.new" "$FILE"; then
			mv "$FILE.new" "$FILE"
			[ ! -e "$FILE.etag.new" ] || mv "$FILE.etag.new" "$FILE.etag"
			reloaded=no
		fi
	fi
	# A failed reload is repeated: the server may not run yet.
	if [ "$reloaded" = no ] && sh -c "$RELOAD"; then
		reloaded=yes
	fi
	sleep "${PERIOD:-300}"
done
