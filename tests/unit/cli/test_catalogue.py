"""Tables of what there is to choose from."""

from __future__ import annotations

from asd.cli.catalogue import markdown_table


def test_of_many_weights_the_first_few_are_named() -> None:
    rows = [{"encoder": "-", "weights": ", ".join(f"w{n}" for n in range(count))} for count in (6, 9)]
    six, nine = markdown_table(rows).splitlines()[2:]
    assert "w0, w1, w2, w3, w4, w5 " in six
    assert "w0, w1, w2 and 6 more " in nine
