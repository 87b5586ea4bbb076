from dataclasses import dataclass
@dataclass(frozen=True)
class Glass: pass
def find_glass(*a): return None
def through_glass(*a): return None
