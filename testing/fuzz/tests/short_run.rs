//! Each target for a few seconds: its corpus, then changes of it.

use std::path::Path;
use std::time::{Duration, Instant};

use annals_fuzz::TARGETS;

/// `ANNALS_FUZZ_SECONDS` a target, two if it is not set. A failure names the seed to run again with
/// `ANNALS_FUZZ_SEED`, and leaves its input in a file.
#[test]
fn every_target_holds_for_a_few_seconds() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let time = Duration::from_secs(number("ANNALS_FUZZ_SECONDS").unwrap_or(2));
    let seed = number("ANNALS_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let files = std::fs::read_dir(corpus.join(target.name)).unwrap();
        let inputs: Vec<_> =
            files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        let run = |input: &[u8]| {
            if let Err(panic) = std::panic::catch_unwind(|| (target.run)(input)) {
                let file = std::env::temp_dir().join(format!("annals-fuzz-{}", target.name));
                std::fs::write(&file, input).unwrap();
                eprintln!("{}, seed {seed}: the input is in {}", target.name, file.display());
                std::panic::resume_unwind(panic);
            }
        };
        inputs.iter().for_each(|input| run(input));
        let (begun, mut runs) = (Instant::now(), 0);
        while begun.elapsed() < time {
            let mut input = inputs[rng.usize(..inputs.len())].clone();
            for _ in 0..rng.usize(1..8) {
                change(&mut input, &inputs, &mut rng);
            }
            run(&input);
            runs += 1;
        }
        println!("{}: {runs} inputs, seed {seed}", target.name);
    }
}

/// One small change: a bit, a byte, a piece removed, doubled, or taken from another input.
fn change(input: &mut Vec<u8>, inputs: &[Vec<u8>], rng: &mut fastrand::Rng) {
    let at = rng.usize(..=input.len());
    let end = input.len().min(at + rng.usize(..8));
    match rng.u8(..6) {
        0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
        1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff, rng.u8(..)][rng.usize(..6)],
        2 => drop(input.drain(at..end)),
        3 => drop(input.splice(at..at, input[at..end].to_vec()).count()),
        4 => input.insert(at, rng.u8(..)),
        _ => {
            let other = &inputs[rng.usize(..inputs.len())];
            let from = rng.usize(..=other.len());
            input.splice(at.., other[from..].iter().copied());
        }
    }
}
