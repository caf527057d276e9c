"""Check commit messages: `area: imperative sentence`, at most 72 characters. Standard library only.

    check_commit_message.py FILE    check the message that git is about to commit (commit-msg hook)
    check_commit_message.py -       check messages from standard input, separated by NUL (git log -z --format=%B)

Merge commits keep the subject that git gives them. Exit with 1 when a message breaks a rule.
"""

import re
import sys
from pathlib import Path

MAX_SUBJECT_CHARACTERS = 72
EXAMPLE = "orders: reject carts over the item limit"
SUBJECT = re.compile(r"(?P<area>[a-z][a-z0-9_-]*(?:/[a-z0-9_-]+)*): (?P<sentence>\S.*)")
MERGE = re.compile(r"Merge (?:branch|branches|commit|pull request|remote-tracking branch|tag)\b")
WORK_IN_PROGRESS = re.compile(r"\bwip\b|^(?:fixup|squash|amend)!", re.IGNORECASE)
SCISSORS = "# ------------------------ >8 ------------------------"
NO_VERBS = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "there", "we", "i", "you", "they", "some", "any", "all",
    "no", "every", "each", "new", "more", "many", "one", "two", "what", "when", "where", "who", "and", "or", "but", "for",
    "from", "in", "on", "of", "to", "with",
})  # fmt: skip
# Verbs and adverbs that look like `added`, `adding` or `adds`, but may begin an imperative sentence.
EXCEPTIONS = frozenset({
    "embed", "feed", "need", "seed", "shed", "speed", "exceed", "proceed", "succeed", "bring", "ping", "ring", "spring",
    "string", "swing", "focus", "alias", "always",
})  # fmt: skip


def find_problems(message: str) -> list[str]:
    """Return what is wrong with a message, one sentence each; an empty list when nothing is."""
    subject, *rest = message.strip("\n").split("\n")
    if MERGE.match(subject):
        return []
    problems = []
    if len(subject) > MAX_SUBJECT_CHARACTERS:
        problems.append(f"The subject has {len(subject)} characters, the limit is {MAX_SUBJECT_CHARACTERS}.")
    if WORK_IN_PROGRESS.search(subject):
        problems.append("The subject marks unfinished work. Squash or finish the commit.")
    if subject.endswith("."):
        problems.append("The subject ends with a full stop. Remove it.")
    if rest and rest[0]:
        problems.append("The second line is not empty. Separate subject and body by an empty line.")
    parts = SUBJECT.fullmatch(subject)
    if parts is None:
        problems.append("The subject is not `area: imperative sentence` with a lower-case area.")
    elif not _is_imperative(verb := parts["sentence"].split()[0]):
        problems.append(f"{verb!r} is not an imperative. Write `add`, not `added`, `adds`, `adding` or a noun.")
    return problems


def _is_imperative(word: str) -> bool:
    """Guess from the form of the word; it refuses the usual other forms and accepts the rest."""
    word = word.lower()
    has_other_form = word.endswith(("ed", "ing")) or (word.endswith("s") and not word.endswith("ss"))
    return word not in NO_VERBS and (not has_other_form or word in EXCEPTIONS)


def _without_comments(text: str) -> str:
    """Drop what git drops from an edited message: comment lines, and the diff below the scissors."""
    text = text.split(SCISSORS)[0]
    return "\n".join(line for line in text.split("\n") if not line.startswith("#"))


def main(source: str) -> int:
    """Check the messages of a source, print the problems, and return the exit status."""
    if source == "-":
        messages = [message for message in sys.stdin.read().split("\0") if message.strip()]
    else:
        messages = [_without_comments(Path(source).read_text(encoding="utf-8"))]
    failures = [(message, problems) for message in messages if (problems := find_problems(message))]
    for message, problems in failures:
        print(message.strip("\n").split("\n")[0], *problems, sep="\n  ", file=sys.stderr)
    if failures:
        print(f"Example: {EXAMPLE}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
