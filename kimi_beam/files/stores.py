"""Files wherever they are: Beam's filesystems, and what is done better here than in Beam.

`FileSystems` has the methods of Beam's class of the same name; all of kimi_beam reads and writes files through it.
"""

from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.store_errors import in_one_line

__all__ = ["FileSystems", "in_one_line"]
