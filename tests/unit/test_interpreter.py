"""The interpreter of jobs, where its path has what a shell reads in its own way."""

import pytest

from dqv2.runtime.interpreter import require_no_braces, unquoted


@pytest.mark.parametrize(
    ("executable", "folder", "found"),
    [
        ("/usr/bin/python3", "/home/me/a b", "/usr/bin/python3"),
        ("/home/me/a b/.venv/bin/python", "/home/me/a b", ".venv/bin/python"),
        ("/home/it's $ME/é/.venv/bin/python", "/home/it's $ME/é", ".venv/bin/python"),
        ("/home/me/a b/env/bin/python", "/home/me/a b/clone", "../env/bin/python"),
    ],
)
def test_it_has_a_path_that_a_shell_takes_as_it_is(executable, folder, found):
    assert unquoted(executable, folder) == found


@pytest.mark.parametrize("executable", ["/home/me/my env/bin/python", "/opt/$X/bin/python"])
def test_one_without_such_a_path_is_refused_in_a_sentence(executable):
    with pytest.raises(ValueError, match=r"Snakemake cannot start jobs with the interpreter .*: its path has a space"):
        unquoted(executable, "/home/me/clone")


def test_an_interpreter_in_the_working_folder_itself_needs_a_slash():
    assert unquoted("/home/me/a b/python", "/home/me/a b") == "./python"


def test_braces_in_the_clones_path_are_refused_in_a_sentence():
    require_no_braces("/home/me/a b's $HOME")
    with pytest.raises(ValueError, match=r"takes what is in braces in /home/\{me\} for a wildcard: move the clone"):
        require_no_braces("/home/{me}")
