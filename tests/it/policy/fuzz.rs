//! From seeds: nothing that is read ends the process, and what is printed reads back as the same rule.

use hearth::policy::Policy;
use hearth::policy::files::file_parse;
use hearth::policy::parse::parse;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::random::{Random, overrides};

const BITS: [&str; 30] = [
    "(",
    ")",
    " ",
    "\t",
    "and",
    "or",
    "not",
    "role:",
    "rule:",
    "a",
    "%(",
    ")s",
    "%",
    "%%",
    ":",
    "'",
    "\"",
    "@",
    "!",
    "é",
    "\u{1F980}",
    "user_id:",
    "http:",
    "\\",
    "None",
    "-5",
    ".",
    "\u{0}",
    "[",
    "]",
];

#[test]
fn whatever_is_written_the_parser_answers() {
    let mut read = 0;
    for seed in 0..20_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let length = random.random_range(0..12);
        let text: String = (0..length).map(|_| *BITS.choose(&mut random).unwrap()).collect();
        match parse(&text) {
            Ok(expression) => {
                read += 1;
                assert_eq!(parse(&expression.to_string()), Ok(expression.clone()), "seed {seed}: {text:?}");
            }
            Err(error) => {
                assert!((1..=text.chars().count() + 1).contains(&error.at), "seed {seed}: {text:?}: {error}");
            }
        }
    }
    assert!((1_000..19_000).contains(&read), "{read} of 20000 could be read");
}

/// A sound file, of which a part is cut out, doubled or replaced.
#[test]
fn whatever_is_in_a_file_it_is_answered() {
    let sound = "# rules\n\"volume:get\": \"role:a or (role:b and project_id:%(project_id)s)\"\n'volume:delete': '!'\n\
                 old: [[\"role:a\", \"role:b\"], [\"role:c\"]]\nmore: >-\n  role:a\n  and role:b\n";
    assert_eq!(file_parse(sound, "p".into()).unwrap().len(), 4);
    let mut read = 0;
    for seed in 0..5_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut letters: Vec<char> = sound.chars().collect();
        for _ in 0..random.random_range(1..4) {
            let from = random.random_range(0..letters.len());
            let to = (from + random.random_range(0..10)).min(letters.len());
            let bit: Vec<char> = match random.random_range(0..3) {
                0 => Vec::new(),
                1 => [&letters[from..to], &letters[from..to]].concat(),
                _ => ["{", "[", "&a ", "*a", "- ", "? ", "!", ":", "\n", "  ", "---\n", "\"", "é"]
                    .choose(&mut random)
                    .unwrap()
                    .chars()
                    .collect(),
            };
            letters.splice(from..to, bit);
        }
        let text: String = letters.into_iter().collect();
        read += usize::from(file_parse(&text, "p".into()).is_ok());
    }
    assert!((100..4_900).contains(&read), "{read} of 5000 could be read");
}

#[test]
fn what_is_printed_decides_the_same() {
    let mut outcomes = [0; 2];
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let rules = random.rules();
        let printed: Vec<_> =
            rules.iter().map(|(name, text)| (name.clone(), parse(text).unwrap().to_string())).collect();
        let [one, other] = [&rules, &printed].map(|rules| Policy::new(&overrides(rules), true).unwrap());
        for _ in 0..10 {
            let (context, target) = (random.caller(), random.target());
            for (rule, _) in &rules {
                let [decision, again] = [&one, &other].map(|policy| policy.explain(rule, &context, &target).unwrap());
                assert_eq!(decision.allowed, again.allowed, "seed {seed}: {rule} of {rules:?} as {printed:?}");
                assert_eq!(decision.allowed, decision.reasons[0].holds);
                outcomes[usize::from(decision.allowed)] += 1;
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 500), "denied and allowed {outcomes:?}");
}

/// What is said of a decision is true: each expression by itself comes out as the explanation says.
#[test]
fn every_reason_is_true_by_itself() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let rules = random.rules();
        let policy = Policy::new(&overrides(&rules), true).unwrap();
        let (context, target) = (random.caller(), random.target());
        for reason in policy.explain("r3", &context, &target).unwrap().reasons {
            if reason.text.contains(" = ") {
                continue;
            }
            let alone = overrides(&rules).with("alone", &reason.text).unwrap();
            let decision = Policy::new(&alone, true).unwrap().explain("alone", &context, &target).unwrap();
            assert_eq!(decision.allowed, reason.holds, "seed {seed}: {}", reason.text);
        }
    }
}
