import pytest
from checkerboard import Board, plant_board


@pytest.fixture(scope="session")
def board() -> Board:
    return plant_board()
