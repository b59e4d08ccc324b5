//! What is said after `cargo bench --bench limits --`.

use super::world::Network;

/// Which runs, and what is shown of them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only scenarios whose name holds this.
    pub only: Option<String>,
    /// Another length for all runs.
    pub seconds: Option<f64>,
    /// Run once, rest, and measure the second run.
    pub warm: bool,
    /// Which client.
    pub client: String,
    pub trace: bool,
    pub seeds: Vec<u64>,
    pub networks: Vec<Network>,
}

/// How to use it.
pub const USAGE: &str = "cargo bench --bench limits -- [--only TEXT] [--quick] [--seconds N] [--warm] [--client touch]
    [--trace] [--seeds N] [--seed N] [--latency MS] [--jitter MS]";

/// Latencies and jitters of the whole table, ms.
const LATENCIES_MS: [u32; 3] = [20, 80, 300];
const JITTERS_MS: [u32; 3] = [0, 2, 20];

impl Options {
    /// From the words of the command line; a word that is not known ends the program with [`USAGE`].
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            only: None,
            seconds: None,
            warm: false,
            client: "touch".to_owned(),
            trace: false,
            seeds: (1..=5).collect(),
            networks: Vec::new(),
        };
        let (mut latencies_ms, mut jitters_ms) = (LATENCIES_MS.to_vec(), JITTERS_MS.to_vec());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                // Cargo says so to every bench.
                "--bench" => {}
                "--only" => options.only = Some(value()?),
                "--seconds" => options.seconds = Some(number(&value()?)?),
                "--warm" => options.warm = true,
                "--client" => options.client = value()?,
                "--trace" => options.trace = true,
                "--quick" => {
                    options.seeds = vec![1];
                    (latencies_ms, jitters_ms) = (vec![80], vec![2]);
                }
                "--seeds" => options.seeds = (1..=number(&value()?)?).collect(),
                "--seed" => options.seeds = vec![number(&value()?)?],
                "--latency" => latencies_ms = vec![number(&value()?)?],
                "--jitter" => jitters_ms = vec![number(&value()?)?],
                _ => return Err(format!("{word} is not known\n{USAGE}")),
            }
        }
        for &latency_ms in &latencies_ms {
            options.networks.extend(jitters_ms.iter().map(|&jitter_ms| Network { latency_ms, jitter_ms }));
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no number\n{USAGE}"))
}
