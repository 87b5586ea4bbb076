"""`python -m carclf`: the `carclf` command, where no script of that name lies on PATH."""

from carclf.cli import main

if __name__ == "__main__":
    main()
