//! temp
use nn_core::measure::*;
use nn_core::*;
#[allow(clippy::disallowed_methods)]
fn main() {
    let n: usize = std::env::args().nth(1).map_or(1, |a| a.parse().unwrap());
    let isa = Isa::best();
    for _ in 0..3 {
        let rounds = 20_000_000;
        let hs: Vec<_> = (0..n)
            .map(|_| {
                std::thread::spawn(move || {
                    let cpu = || {
                        std::fs::read_to_string("/proc/thread-self/schedstat")
                            .unwrap()
                            .split(' ')
                            .next()
                            .unwrap()
                            .parse::<f64>()
                            .unwrap()
                            * 1e-9
                    };
                    let c = cpu();
                    let t = std::time::Instant::now();
                    let ops = multiply_adds(isa, rounds) as f64 * 1e-9;
                    (ops / t.elapsed().as_secs_f64(), ops / (cpu() - c))
                })
            })
            .collect();
        let r: Vec<(f64, f64)> = hs.into_iter().map(|h| h.join().unwrap()).collect();
        println!("{} wall, cpu {r:.0?}", isa.name());
    }
}
