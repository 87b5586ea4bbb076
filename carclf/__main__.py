"""`python -m carclf`: the same as the command `carclf`."""

from carclf.cli import main

if __name__ == "__main__":
    main()
