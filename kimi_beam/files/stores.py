"""The two names that other packages need to use object stores: `FileSystems`, and `in_one_line` for their errors.

`FileSystems` has the methods of Beam's class of the same name. All of kimi_beam reads and writes files through it.
"""

from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.store_errors import in_one_line

__all__ = ["FileSystems", "in_one_line"]
