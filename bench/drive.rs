//! What `tuning/drive` has found out about this host's drive, beside the figures of the benchmarks: of the directory for temporary
//! files, as in `bench/compare`.

/// Prints one line.
pub fn print() {
    let place = std::env::temp_dir();
    #[cfg(feature = "shell")]
    let headline = klamm::shell::data_dir::drive(&place);
    #[cfg(not(feature = "shell"))]
    let headline = Some("not looked at by a build without the shell".to_string());
    println!("drive: {}", headline.unwrap_or_else(|| format!("not measured (tuning/drive --dir {})", place.display())));
}
