"""Options structs of an entry, made once per set of values."""

import ctypes
import difflib
import operator

from ._errors import InvalidOption

_MOST = 64


class Options:
    """Maps option values, in order, to ``(address, reduction is none, struct)``."""

    def __init__(self, entry):
        self.entry = entry
        self.made = {}

    def make(self, *values):
        struct = self.entry.default_options()
        per_sample = False
        for option, value in zip(self.entry.options.values(), values):
            setattr(struct, option.name, self._convert(option, value))
            if option.type == "reduction":
                per_sample = value == "none"
        made = (ctypes.addressof(struct), per_sample, struct)
        if len(self.made) >= _MOST:
            self.made.clear()
        self.made[values] = made
        return made

    def _convert(self, option, value):
        where = f"{self.entry.name}: option '{option.name}'"
        try:
            if option.values:
                if value not in option.values:
                    close = difflib.get_close_matches(str(value), option.values, 1)
                    hint = f". Did you mean {close[0]!r}?" if close else ""
                    raise InvalidOption(f"{where} is {value!r}, expected {option.allowed}{hint}")
                return option.values.index(value)
            if option.type == "float":
                if isinstance(value, (str, bytes)):
                    raise TypeError
                return float(value)
            number = operator.index(value)
        except (TypeError, ValueError) as error:
            if isinstance(error, InvalidOption):
                raise
            kind = {"float": "a number", "int": "an integer", "uint": "an integer", "bool": "True or False"}.get(option.type, option.allowed)
            raise TypeError(f"{where} is {value!r}, expected {kind}") from None
        if option.type == "bool":
            if number not in (0, 1):
                raise InvalidOption(f"{where} is {value!r}, expected True or False")
        elif option.type == "uint" and not 0 <= number < 2**64:
            raise InvalidOption(f"{where} is {value!r}, expected {option.allowed}")
        elif option.type == "int" and not -(2**63) <= number < 2**63:
            raise InvalidOption(f"{where} is {value!r}, expected a 64-bit integer")
        return number


def reject_unknown(function, known, unknown):
    """Complains about a keyword argument as Python does, with the name that was probably meant."""
    name = next(iter(unknown))
    close = difflib.get_close_matches(name, known, 1)
    hint = f". Did you mean '{close[0]}'?" if close else f"; it takes {', '.join(known)}"
    raise TypeError(f"{function}() got an unexpected keyword argument '{name}'{hint}")
