"""The rows of one batch under check: which are left out, and which are kept without some of their values."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema.checks.column_texts import Mask, Problem
from graph_schema.checks.rejects import Fault, Reason


class CheckedRows:
    """The rows of one batch under check.

    Attributes:
        columns: their values, by name.
    """

    def __init__(self, n_rows: int) -> None:
        self.columns: dict[str, pa.Array] = {}
        self._codes: NDArray[np.int32] = np.zeros(n_rows, dtype=np.int32)  # the first reason against each row; 0: none
        self._reasons: list[Reason] = [Reason(Fault.BROKEN, None, "")]  # the first stands for none
        self._unfit: list[tuple[Mask, Reason]] = []  # values that rows are kept without

    @property
    def good(self) -> Mask:
        """Which rows are not rejected so far."""
        good: Mask = self._codes == 0
        return good

    def reject(self, bad: Mask, reason: Reason) -> None:
        """Rejects rows; of several reasons the first stays."""
        if bad.any():
            self._codes[bad & self.good] = len(self._reasons)
            self._reasons.append(reason)

    def reject_missing(self, column: str, fault: Fault) -> None:
        """Rejects the rows without a value."""
        missing = self.columns[column].is_null().to_numpy(zero_copy_only=False)
        self.reject(missing, Reason(fault, column, f"{column} is empty"))

    def reject_values(self, column: str, problems: list[Problem], *, keep_rows: bool) -> None:
        """Rejects the rows of values that do not fit or, with `keep_rows`, only the values: they become null."""
        found = np.zeros(len(self._codes), dtype=bool)
        for bad, text in problems:
            reason = Reason(Fault.UNFIT_VALUE, column, f"{column} {text}", keeps_row=keep_rows)
            if not keep_rows:
                self.reject(bad, reason)
            elif (bad & ~found).any():
                self._unfit.append((bad & ~found, reason))
                found |= bad
        if found.any():
            values = self.columns[column]
            self.columns[column] = pc.if_else(pa.array(~found), values, pa.scalar(None, values.type))

    def find_faults(self) -> list[tuple[int, Reason]]:
        """The rejected rows, and the rows kept without a value, in order; a row may be there for several values."""
        bad = np.flatnonzero(self._codes)
        faults = [(row, self._reasons[code]) for row, code in zip(bad.tolist(), self._codes[bad].tolist(), strict=True)]
        for unfit, reason in self._unfit:
            faults += [(row, reason) for row in np.flatnonzero(unfit & self.good).tolist()]
        return sorted(faults, key=lambda fault: fault[0])
