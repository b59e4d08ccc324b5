//! What is said after `cargo bench --bench limits --`.

use super::rivals::NAMES;
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
    /// Length of that first run, if it is not the scenario's own.
    pub first_s: Option<f64>,
    /// Which client.
    pub client: String,
    /// All of them beside each other.
    pub side_by_side: bool,
    /// Tell each refusal and each change of mind.
    pub trace: bool,
    pub seeds: Vec<u64>,
    pub networks: Vec<Network>,
}

/// How to use it.
pub const USAGE: &str = "cargo bench --bench limits -- [OPTIONS]

  --only TEXT       scenarios whose name holds TEXT
  --seconds N       runs of N seconds instead of the scenario's; 60 is the cold minute
  --warm            measure a second run, which starts with what the first one learned
  --first N         the length of that first run, in seconds
  --client NAME     touch (the product), oracle, workers, cubic, aimd or autothrottle
  --side-by-side    all of them, in one table
  --trace           tell each refusal and each change of what is believed
  --quick           one seed, one latency, one jitter
  --seeds N  --seed N  --latency MS  --jitter MS";

/// Latencies and jitters of the whole table, ms.
const LATENCIES_MS: [u32; 3] = [20, 80, 300];
const JITTERS_MS: [u32; 3] = [0, 2, 20];

impl Options {
    /// From the words of the command line; an error tells how to use it.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            only: None,
            seconds: None,
            warm: false,
            first_s: None,
            client: "touch".to_owned(),
            side_by_side: false,
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
                "--first" => options.first_s = Some(number(&value()?)?),
                "--client" => {
                    options.client = value()?;
                    if options.client != "touch" && !NAMES.contains(&options.client.as_str()) {
                        return Err(format!("no client is called {}\n{USAGE}", options.client));
                    }
                }
                "--side-by-side" => options.side_by_side = true,
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
