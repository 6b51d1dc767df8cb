#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# healthy.sh [PATH]: whether the server in this container answers 200 to /readyz, or to another probe (/healthz).
set -eu
exec 3<>"/dev/tcp/127.0.0.1/${SHOAL_METRICS_PORT:-9121}"
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "${1:-/readyz}" >&3
read -r -t 2 _ status _ <&3
[ "$status" = 200 ]
