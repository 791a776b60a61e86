#!/venv/bin/python -IS
# A command of this image by its name: fills in what its arguments name, as a shell does, and becomes it.
import os
import sys

PROGRAM = {program}
ARGUMENTS = {arguments}
VARIABLES = {variables}


def value(piece):
    if isinstance(piece, str):
        return piece
    name, default, or_empty, _ = piece
    found = os.environ.get(name)
    return default if found is None or or_empty and not found else found


def words(pieces):
    done, word = [], None
    for piece in pieces:
        text = value(piece)
        if isinstance(piece, str) or piece[3]:
            word = (word or "") + text
            continue
        for index, part in enumerate(text.replace("\t", " ").replace("\n", " ").split(" ")):
            if index and word is not None:
                done.append(word)
                word = None
            if part:
                word = (word or "") + part
    return done if word is None else [*done, word]


arguments = [word for pieces in ARGUMENTS for word in words(pieces)]
own = {name: "".join(map(value, pieces)) for name, pieces in VARIABLES.items()}
os.execve(PROGRAM[0], [*PROGRAM, *arguments, *sys.argv[1:]], {**os.environ, **own})
