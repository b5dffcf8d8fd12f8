"""Counts with their nouns."""

from hrnn_hpo.errors import counted


def test_one_is_told_without_an_s_and_many_with_commas() -> None:
    assert [counted(n, "test user") for n in (0, 1, 1234)] == ["0 test users", "1 test user", "1,234 test users"]
    assert [counted(n, "list is", "lists are") for n in (1, 2)] == ["1 list is", "2 lists are"]
