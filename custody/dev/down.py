"""`make down`: stop what `make up` started; data stay."""

from custody.dev.system import System
from custody.dev.up import FOLDER

if __name__ == "__main__":
    System(FOLDER, print).down()
    print(f"stopped; data stay in {FOLDER}")
