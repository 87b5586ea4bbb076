import pandas

from carclf.recognition.prediction import COLUMNS, Prediction, Predictions

OK = Prediction("a.jpg", "ok", "van", 0.75, (("van", 0.75), ("suv", 0.25)), (5, 5, 50, 30))
NONE = Prediction("b.jpg", "no_car", reason="no vehicle found in the photo")


def test_predictions_become_a_table():
    table = Predictions([OK, NONE]).to_pandas()
    assert list(table.columns) == list(COLUMNS) and len(table) == 2
    first, second = table.to_dict("records")
    assert (first["label"], first["confidence"], first["box"]) == ("van", 0.75, [5, 5, 50, 30])
    assert first["top"] == [["van", 0.75], ["suv", 0.25]] and pandas.isna(second["label"])
    assert OK.to_pandas().equals(Predictions([OK]).to_pandas())


def test_a_table_of_nothing_has_its_columns():
    assert list(Predictions().to_pandas().columns) == list(COLUMNS)


def test_the_rank_is_a_column_only_where_vehicles_are_told_apart():
    ranked = Prediction("a.jpg", "ok", "van", 0.75, vehicle=2)
    assert "vehicle" not in OK.row() and ranked.row()["vehicle"] == 2
    assert list(Predictions([ranked]).to_pandas().columns) == ["file", "vehicle", *COLUMNS[1:]]
