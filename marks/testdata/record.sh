#!/bin/bash
# Records what iptables does with the commands in commands4.txt, commands6.txt
# and errors.txt. Needs iptables-legacy; run as: unshare -rn bash record.sh
# Every command gives "$ words", its output, and "= status".
run() {
	tool=$1
	while read -r line; do
		case $line in
		'' | '#'*) continue ;;
		esac
		echo "\$ $line"
		# shellcheck disable=SC2086
		$tool $line 2>&1 | sed 's/ v[0-9.]* (legacy)//; /^$/{N;/\nTry `/s/^\n//}'
		echo "= ${PIPESTATUS[0]}"
	done
}
cd "$(dirname "$0")" || exit 1
run iptables-legacy <commands4.txt >commands4.golden
run ip6tables-legacy <commands6.txt >commands6.golden
run iptables-legacy <errors.txt >errors.golden
