//! The commands of the README and of the tutorial, run as they stand.

use std::path::Path;

use neurosieve::study::Spec;

use super::shell::{Shell, differences, steps};
use super::{Block, blocks, pages, read};

/// Blocks of the README that are not run here, by their first line, each with the reason.
const ELSEWHERE: [(&str, &str); 8] = [
    ("cargo test --release", "it is what runs this test"),
    (
        "python3 -m venv .venv",
        "loads packages; `.ci/run` runs the same lines, as tests/layout/texts.rs holds it to",
    ),
    (
        "cargo run --release -- compare base/results.json fine-tuned/results.json -o out/compare.json",
        "compares two studies of the reader's; tests/cli/compare.rs runs it on two that it makes",
    ),
    (
        "neurosieve study study.toml -o shards --shard 1/2",
        "a study of the reader's; tests/cli/shards.rs, and below the scripts of docs/slurm.md",
    ),
    (
        "cargo run --release -- compare base fine-tuned --transfer -o out/compare.json",
        "as above; tests/cli/transfer.rs",
    ),
    (
        "pip install .",
        "loads packages; `.ci/run` installs the package",
    ),
    (
        "cargo run --release -- bench --size small",
        "takes the machine for half a minute; tests/bench runs parts of it",
    ),
    (
        "NEUROSIEVE_CORPUS=\"$PWD/fuzz/corpus\" cargo test --release damaged",
        "needs a nightly toolchain and cargo-fuzz",
    ),
];

/// Runs a block's commands in order; what they print must be what the block quotes. The violations.
fn run(shell: &Shell, page: &str, block: &Block) -> Vec<String> {
    if block.language == "sh" {
        let script = block.text.replace("cargo run --release -- ", "neurosieve ");
        shell.run(&script);
        return Vec::new();
    }
    let mut found = Vec::new();
    for step in steps(&block.text) {
        let printed = shell.run(&step.command);
        for difference in differences(&step.quoted, &printed) {
            let (command, line) = (step.command.trim_end(), block.line);
            found.push(format!("{page}:{line}: {command}\n{difference}"));
        }
    }
    found
}

fn commands(text: &str) -> impl Iterator<Item = Block> {
    blocks(text)
        .into_iter()
        .filter(|block| matches!(&*block.language, "sh" | "console"))
}

#[cfg(unix)]
#[test]
fn the_tutorial_prints_what_it_quotes() {
    let page = "docs/tutorial.md";
    let shell = Shell::with_fixtures(&["python-tokens"]);
    let blocks: Vec<Block> = commands(&read(page)).collect();
    assert!(blocks.len() >= 8, "{}", blocks.len());
    let found: Vec<String> = blocks
        .iter()
        .flat_map(|block| run(&shell, page, block))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[cfg(unix)]
#[test]
fn what_the_readme_says_to_type_runs() {
    let shell = Shell::with_fixtures(&["python-tokens"]);
    let (left_out, taken): (Vec<Block>, Vec<Block>) =
        commands(&read("README.md")).partition(|block| {
            ELSEWHERE
                .iter()
                .any(|(first, _)| *first == block.first_line())
        });
    assert!(taken.len() >= 6, "{}", taken.len());
    for (first, why) in ELSEWHERE {
        assert!(
            left_out.iter().any(|block| block.first_line() == first),
            "the README has no block `{first}`, which is not run: {why}"
        );
    }
    let found: Vec<String> = taken
        .iter()
        .flat_map(|block| run(&shell, "README.md", block))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// The job scripts do what they are for, with what Slurm sets.
#[cfg(unix)]
#[test]
fn the_job_scripts_divide_a_study() {
    let shell = Shell::with_fixtures(&["python-tokens"]);
    let scripts: Vec<Block> = blocks(&read("docs/slurm.md"))
        .into_iter()
        .filter(|block| block.language == "bash" && block.text.contains("#SBATCH"))
        .collect();
    assert_eq!(scripts.len(), 2);
    let data = |part: &str| format!("{part} = \"fixtures/python-tokens/{part}.safetensors\"\n");
    let spec = format!(
        "[data]\n{}{}{}tasks = [\"coarse\"]\n[probe]\nlambda_ratios = [0.1]\n[control]\ndraws = 0\n\
         [minimal_set]\nladder = [8]\nbootstrap = 0\nrandom_sets = 0\ndisjoint = 0\n[combined]\ndeltas = []\n",
        data("train"),
        data("dev"),
        data("test"),
    );
    shell.run(&format!("cat > study.toml <<'END'\n{spec}END\n"));
    for job in 1..=2 {
        let set = format!(
            // An array of one job, as when a share that was missing is done again.
            "export SLURM_ARRAY_TASK_ID={job} SLURM_ARRAY_TASK_COUNT=1 SLURM_CPUS_PER_TASK=1\n"
        );
        let script = scripts[0].text.replace("SHARDS=8", "SHARDS=2");
        assert!(script.contains("SHARDS=2"), "{script}");
        shell.run(&format!("{set}{script}"));
    }
    shell.run(&format!(
        "export SLURM_CPUS_PER_TASK=1\n{}",
        scripts[1].text
    ));
    let there = shell.run("ls shards out");
    for name in [
        "shard-1-of-2",
        "shard-2-of-2",
        "results.json",
        "report.html",
    ] {
        assert!(there.out.contains(name), "{name} is not in: {}", there.out);
    }
}

/// Commands of the other pages belong to what the tutorial and the README run.
#[test]
fn no_other_page_has_commands_that_nothing_runs() {
    let known: String = [read("docs/tutorial.md"), read("README.md")].concat();
    let mut others = pages();
    others.retain(|page| page != "docs/tutorial.md");
    others.push("CONTRIBUTING.md".to_owned());
    for page in others {
        for block in commands(&read(&page)) {
            for line in block.text.lines().filter(|line| !line.trim().is_empty()) {
                assert!(
                    known.lines().any(|other| other == line),
                    "{page}:{}: `{line}` is not in the tutorial or the README",
                    block.line
                );
            }
        }
    }
}

/// Each `toml` block is a specification, or a part of one where `[data]` is left out.
#[test]
fn specifications_in_the_pages_can_be_read() {
    let data = "[data]\ntrain = \"a\"\ndev = \"b\"\ntest = \"c\"\n";
    let mut read_so_far = 0;
    for page in [vec!["README.md".to_owned()], pages()].concat() {
        for block in blocks(&read(&page)) {
            if block.language == "toml" {
                let missing = if block.text.contains("[data]") {
                    ""
                } else {
                    data
                };
                let text = format!("{}\n{missing}", block.text);
                if let Err(error) = Spec::parse(&text, Path::new(&page)) {
                    panic!("{page}:{}: {error}", block.line);
                }
                read_so_far += 1;
            }
        }
    }
    assert!(read_so_far >= 2, "the README has two");
}
