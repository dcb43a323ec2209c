"""Write the corpus into the folder named, and list it."""

import sys
from pathlib import Path

from corpus import build

for case in build(Path(sys.argv[1])):
    print(case.expect, case.name, case.member or "", case.why, sep="\t")
