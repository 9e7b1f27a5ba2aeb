//! Texts that a spreadsheet would run as a formula.
//!
//! Words, classes and names are of the data, and so of strangers; a spreadsheet that opens a CSV file takes a cell that begins
//! with `=`, `+`, `-` or `@` for a formula, which can name other files and programs. As OWASP advises ("CSV Injection"), such a
//! text gets an apostrophe before it, which a spreadsheet does not show. The rule, which `script.js` of the page follows as well:
//!
//! - A formula begins with one of [`BEGINS`], has a letter or a digit (Unicode: Alphabetic or Number), and is no number. A text
//!   of signs alone, such as the tokens `=` and `->` of source code, stays: there is nothing to compute.
//! - A number is what `f64` is read from: a sign or none, then decimal digits with a point or without, then an exponent or none;
//!   or `inf`, `infinity` or `nan`, in capitals or not. `-1e-5` and `-inf` stay; `-0x10`, `-1,5` and a tab with `12` after it
//!   do not.
//!
//! `tests/report/formulas.json` has texts of both kinds, by which both are tested.

use crate::error::Result;

/// What a formula begins with, in any locale; tabs and ends of lines before it are skipped by some programs.
const BEGINS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Whether a spreadsheet could take a cell for a formula.
fn is_formula(cell: &str) -> bool {
    cell.starts_with(BEGINS) && cell.contains(char::is_alphanumeric) && cell.parse::<f64>().is_err()
}

/// A table as CSV in which no cell is a formula; where none is, its very bytes.
pub(super) fn without(name: &str, table: Vec<u8>) -> Result<Vec<u8>> {
    let reader = || {
        ::csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(&*table)
    };
    let mut row = ::csv::StringRecord::new();
    let mut rows = reader();
    let mut any = false;
    while !any
        && rows
            .read_record(&mut row)
            .map_err(|e| super::broken(name, &e))?
    {
        any = row.iter().any(is_formula);
    }
    if !any {
        return Ok(table);
    }
    let mut rows = reader();
    let mut writer = ::csv::Writer::from_writer(Vec::with_capacity(table.len()));
    while rows
        .read_record(&mut row)
        .map_err(|e| super::broken(name, &e))?
    {
        for cell in &row {
            let written = match is_formula(cell) {
                true => writer.write_field(format!("'{cell}")),
                false => writer.write_field(cell),
            };
            written.map_err(|e| super::broken(name, &e))?;
        }
        let end = writer.write_record(None::<&[u8]>);
        end.map_err(|e| super::broken(name, &e))?;
    }
    writer
        .into_inner()
        .map_err(|e| super::broken(name, e.error()))
}
