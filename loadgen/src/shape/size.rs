//! How long values are.

use rand::Rng;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, LogNormal};
use std::str::FromStr;
use std::sync::Arc;

/// Longest value.
const BYTES_MAX: u32 = 1 << 27;
/// The longest value of a distribution without end is so many times its median.
const MEDIANS_MAX: u32 = 100;

/// Lengths of values, and how often each comes.
#[derive(Clone, Debug)]
pub enum Size {
    Fixed(u32),
    /// Each as often as the others, both ends included.
    Even(u32, u32),
    LogNormal {
        median: u32,
        distribution: LogNormal<f64>,
        mean: f64,
    },
    Listed {
        sizes: Arc<Vec<u32>>,
        weights: WeightedIndex<f64>,
        mean: f64,
    },
}

impl Size {
    /// The only length, if there is only one.
    pub fn fixed(&self) -> Option<u32> {
        if let Size::Fixed(bytes) = self { Some(*bytes) } else { None }
    }

    pub fn min(&self) -> u32 {
        match self {
            Size::Fixed(bytes) | Size::Even(bytes, _) => *bytes,
            Size::LogNormal { .. } => 0,
            Size::Listed { sizes, .. } => sizes.iter().copied().min().unwrap_or(0),
        }
    }

    pub fn mean(&self) -> f64 {
        match self {
            Size::Fixed(bytes) => f64::from(*bytes),
            Size::Even(min, max) => (f64::from(*min) + f64::from(*max)) / 2.0,
            Size::LogNormal { mean, .. } | Size::Listed { mean, .. } => *mean,
        }
    }

    pub fn draw(&self, random: &mut SmallRng) -> usize {
        let bytes = match self {
            Size::Fixed(bytes) => *bytes,
            Size::Even(min, max) => random.random_range(*min..=*max),
            Size::LogNormal { median, distribution, .. } => {
                (distribution.sample(random).round() as u32).min(median.saturating_mul(MEDIANS_MAX)).min(BYTES_MAX)
            }
            Size::Listed { sizes, weights, .. } => sizes[weights.sample(random)],
        };
        bytes as usize
    }

    /// A line is a size, or a size and how often it comes.
    fn listed(text: &str) -> Result<Size, String> {
        let (mut sizes, mut weights) = (Vec::new(), Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            sizes.push(bytes(words.next().unwrap_or_default())?);
            let weight = words.next().map_or(Ok(1.0), str::parse::<f64>);
            let weight = weight.ok().filter(|weight| weight.is_finite() && *weight >= 0.0 && words.next().is_none());
            weights.push(weight.ok_or_else(|| format!("{line:?} is not BYTES [WEIGHT]"))?);
        }
        let sum: f64 = weights.iter().sum();
        let mean = sizes.iter().zip(&weights).map(|(&size, weight)| f64::from(size) * weight / sum).sum();
        let weights = WeightedIndex::new(&weights).map_err(|error| format!("no sizes: {error}"))?;
        Ok(Size::Listed { sizes: Arc::new(sizes), weights, mean })
    }
}

fn bytes(text: &str) -> Result<u32, String> {
    let bytes = text.trim().parse().ok().filter(|&bytes| bytes <= BYTES_MAX);
    bytes.ok_or_else(|| format!("{text:?} is not a number of bytes up to {BYTES_MAX}"))
}

impl FromStr for Size {
    type Err = String;

    /// `1024`, `100..5000`, `lognormal:MEDIAN:SIGMA`, `@FILE`.
    fn from_str(text: &str) -> Result<Size, String> {
        if let Some(path) = text.strip_prefix('@') {
            let listed = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            return Size::listed(&listed).map_err(|error| format!("{path}: {error}"));
        }
        if let Some(of) = text.strip_prefix("lognormal:") {
            let (median, sigma) = of.split_once(':').ok_or("not lognormal:MEDIAN:SIGMA")?;
            let median = bytes(median)?.max(1);
            let sigma = sigma.parse().ok().filter(|sigma: &f64| (0.0..=5.0).contains(sigma));
            let sigma = sigma.ok_or("SIGMA is not a number from 0 to 5")?;
            let distribution = LogNormal::new(f64::from(median).ln(), sigma).map_err(|error| error.to_string())?;
            // Of the whole distribution; what is cut off of it makes little difference.
            let mean = f64::from(median) * (sigma * sigma / 2.0).exp();
            return Ok(Size::LogNormal { median, distribution, mean });
        }
        match text.split_once("..") {
            None => Ok(Size::Fixed(bytes(text)?)),
            Some((min, max)) => {
                let (min, max) = (bytes(min)?, bytes(max)?);
                if min <= max { Ok(Size::Even(min, max)) } else { Err("MIN is above MAX".to_string()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn sizes_are_as_often_as_they_should_be() {
        let mut random = SmallRng::seed_from_u64(4);
        let listed = Size::listed("# bytes, weight\n100 3\n\n1000\n").unwrap();
        for (size, mean, (min, max)) in [
            ("77".parse().unwrap(), 77.0, (77, 77)),
            ("100..300".parse().unwrap(), 200.0, (100, 300)),
            ("lognormal:1000:0.5".parse().unwrap(), 1133.1, (1, 100_000)),
            (listed, 325.0, (100, 1000)),
        ] {
            let drawn: Vec<usize> = (0..100_000).map(|_| size.draw(&mut random)).collect();
            let average = drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
            assert!(
                (average / mean - 1.0).abs() < 0.02 && (size.mean() / mean - 1.0).abs() < 1e-3,
                "{size:?} {average}"
            );
            assert!(drawn.iter().all(|bytes| (min..=max).contains(bytes)) && size.min() as usize <= min, "{size:?}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "x", "-1", "5..1", "1..", "lognormal:5", "lognormal:5:x", "lognormal:5:9", "134217729", "@"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["", "# only this", "5 x", "5 1 1", "5 -1", "5 0", "x 1"] {
            assert!(Size::listed(text).is_err(), "{text}");
        }
    }
}
