#!/bin/bash
# Checks that the subjects of new commits are "scope: Imperative summary", at most 72 characters:
#   hack/commit-subjects.sh
# Older commits, merges, and commits of bots are not checked. In a clone without the history it skips, and says so.
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."

# The last commit before this rule.
base=159b3c205d2c11f94c9ee74b9457643b12370258

# fault prints how a subject breaks the rule, if it does.
fault() { # SUBJECT
	local subject=$1 verb
	if [ ${#subject} -gt 72 ]; then
		echo "${#subject} characters, 72 are allowed"
	elif ! [[ $subject =~ ^[a-z0-9][a-z0-9./-]*:\ ([A-Z][a-z]+)\ .*[^.[:space:]]$ ]]; then
		echo 'not "scope: Imperative summary"'
	else
		verb=${BASH_REMATCH[1]}
		case $verb in
		Alias | Bring | Embed | Exceed | Feed | Focus | Proceed | Seed | Shed | Speed | *ss) ;;
		*s | *ed | *ing) echo "\"$verb\" is not an imperative" ;;
		esac
	fi
}

# A rule that accepts everything would never be noticed.
selfcheck() {
	local subject
	while IFS= read -r subject; do
		[ -z "$(fault "$subject")" ] || { echo "commit-subjects: \"$subject\" is refused: $(fault "$subject")" >&2; exit 1; }
	done <<-GOOD
	ca: Reject a key that is too small
	controllers/ca: Pass the clock in
	deps: Embed the schema
	naming: Call the half that serves clients the ACME server
	GOOD
	while IFS= read -r subject; do
		[ -n "$(fault "$subject")" ] || { echo "commit-subjects: \"$subject\" is accepted" >&2; exit 1; }
	done <<-BAD
	Reject a key that is too small
	ca: reject a key that is too small
	ca: Rejects a key that is too small
	ca: Rejected a key
	ca: Rejecting a key
	CA: Reject a key
	ca: Reject a key.
	ca:Reject a key
	ca: Reject
	ca: Reject a key that is too small for an account of an issuer that allows no such key
	BAD
}

selfcheck
if [ "$(git rev-parse --is-shallow-repository 2>/dev/null)" != false ]; then
	echo "commit-subjects: skipped: this is not a clone with its history"
	exit 0
fi
if ! git merge-base --is-ancestor "$base" HEAD 2>/dev/null; then
	echo "commit-subjects: skipped: commit $base is not in the history"
	exit 0
fi
status=0 count=0
while IFS=$'\t' read -r commit author subject; do
	[[ $author != *'[bot]'* ]] || continue
	count=$((count + 1))
	fault=$(fault "$subject")
	[ -z "$fault" ] || { echo "commit-subjects: $commit \"$subject\": $fault" >&2; status=1; }
done < <(git log --no-merges --format=$'%h\t%an\t%s' "$base..HEAD")
[ $status -ne 0 ] || echo "commit-subjects: $count new commits are as CONTRIBUTING.md says"
exit $status
