//! What is wrong in the specification is shown with its place.

use super::{Study, assert_fails, neurosieve};

#[test]
fn a_missing_specification_is_named() {
    assert_fails(
        &neurosieve(&["study", "nowhere/study.toml", "-o", "never"]),
        &["cannot read nowhere/study.toml", "No such file"],
    );
}

#[test]
fn a_misspelt_key_is_shown_with_line_column_and_the_nearest_key() {
    let study = Study::new(&Study::usual(), "[probe]\n  lamda_ratios = [0.1]\n");
    assert_fails(
        &study.run(&[]),
        &[
            "study.toml",
            "line 7, column 3",
            "unknown field `lamda_ratios`",
            "Did you mean `lambda_ratios`?",
        ],
    );
}

#[test]
fn a_misspelt_value_is_shown_with_the_nearest_one() {
    let study = Study::new(&Study::usual(), "[clusters]\nlinkage = \"averge\"\n");
    assert_fails(
        &study.run(&[]),
        &["line 7, column 11", "Did you mean `average`?"],
    );
}

#[test]
fn a_value_out_of_range_is_shown_with_its_place_and_range() {
    let study = Study::new(&Study::usual(), "[probe]\nlambda_ratios = [0.1, 1.5]\n");
    assert_fails(
        &study.run(&[]),
        &[
            "line 7, column 17",
            "`probe.lambda_ratios`",
            "1.5 is outside (0, 1]",
        ],
    );
}

#[test]
fn a_value_of_the_wrong_type_and_broken_toml_are_shown_with_their_place() {
    let study = Study::new(&Study::usual(), "[control]\ndraws = \"three\"\n");
    assert_fails(&study.run(&[]), &["line 7, column 9", "invalid type"]);
    let study = Study::new(&Study::usual(), "[control\n");
    assert_fails(&study.run(&[]), &["line 6, column "]);
    study.specify("name = \"no data\"\n");
    assert_fails(&study.run(&[]), &["missing field `data`"]);
}

#[test]
fn no_penalty_at_all_is_refused_with_its_place() {
    let study = Study::new(&Study::usual(), "[probe]\nl1 = 0.0\n");
    assert_fails(
        &study.run(&[]),
        &["line 7, column 6", "both 0", "a small positive value"],
    );
}
