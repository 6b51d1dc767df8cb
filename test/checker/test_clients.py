# SPDX-License-Identifier: BSD-3-Clause
"""What the clients of the checker write down can be read, whatever becomes of them."""

from clients import Log
from workload import do_get, do_set, one


def test_a_line_that_was_cut_by_a_kill_does_not_join_the_next(tmp_path):
    path = str(tmp_path / "log.0")
    first = Log(path)
    first.call(7, [one(do_set("x", "1"))])
    first.answer(7, 10, "ok", "w:x=1")
    first.close()
    whole = (tmp_path / "log.0").read_text()
    assert whole.endswith("< 7 10 ok w:x=1\n")
    for cut in ("<", "< 7 11 ok r:x=", "> 7 12 SET w:x=2"):
        (tmp_path / "log.0").write_text(whole + cut)
        second = Log(path)
        second.call(8, [one(do_get("x"))])
        second.close()
        text = (tmp_path / "log.0").read_text()
        assert text.startswith(whole + "> 8 ") and text.endswith(" GET \n") and text.count("\n") == 3
