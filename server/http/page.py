# SPDX-License-Identifier: BSD-3-Clause
"""page: page.py INPUT OUTPUT writes the C source that holds a file as page_html."""

import sys

with open(sys.argv[1], "rb") as f:
    data = f.read()
lines = [", ".join("%d" % (byte if byte < 128 else byte - 256) for byte in data[i : i + 24]) for i in range(0, len(data), 24)]
with open(sys.argv[2], "w") as f:
    f.write('#include "server/http/page.h"\n\nconst char page_html[] = {\n    %s};\n' % ",\n    ".join(lines))
    f.write("const size_t page_html_bytes = sizeof page_html;\n")
