#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# install_conf.sh FOLDER FILE: puts the configuration there, unless there is one: whoever installs again keeps what he has written.
set -eu
folder=${DESTDIR:-}$1
[ -e "$folder/shoal.conf" ] || install -D -m 644 "$2" "$folder/shoal.conf"
