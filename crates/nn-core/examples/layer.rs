//! temp
#![allow(unsafe_code)]
use nn_core::measure::*;
use nn_core::*;
#[allow(clippy::disallowed_methods)]
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let isa = args.get(1).map_or(Isa::best(), |n| Isa::by_name(n).unwrap());
    let cpu = || {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
        t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
    };
    let best = |n: usize, f: &mut dyn FnMut()| {
        let mut b = f64::MAX;
        f();
        for _ in 0..9 {
            let t = cpu();
            for _ in 0..n {
                f()
            }
            b = b.min((cpu() - t) / n as f64);
        }
        b
    };
    let p = best(1, &mut || {
        std::hint::black_box(multiply_adds(isa, 200_000));
    });
    let peak = multiply_adds(isa, 200_000) as f64 / p / 1e9;
    println!("peak {peak:.0}");
    let only = args.get(2).is_some();
    for (i, o, s, shard) in if only {
        vec![
            (32, 14, 256, 256),
            (32, 14, 256, 32),
            (32, 14, 128, 16),
            (320, 14, 256, 256),
            (32, 504, 256, 256),
            (320, 504, 256, 256),
            (784, 504, 256, 256),
            (784, 504, 256, 32),
            (784, 504, 128, 16),
            (784, 504, 128, 128),
            (1600, 504, 128, 16),
        ]
    } else {
        vec![
            (784, 30, 10, 10),
            (784, 30, 10, 2),
            (784, 128, 32, 32),
            (784, 512, 128, 16),
            (512, 256, 128, 16),
            (784, 512, 1024, 32),
            (784, 2500, 256, 32),
            (2500, 2000, 256, 32),
            (2000, 1500, 256, 32),
            (2000, 1500, 256, 256),
        ]
    } {
        let mut b = Bench::new(isa, i, o, s, shard);
        let n = (200_000_000 / b.operations()).max(1) as usize / 4 + 1;
        let ops = b.operations() as f64 / 1e9;
        let f = best(n, &mut || b.forward());
        let w = best(n, &mut || b.backward());
        let g = best(n, &mut || {
            b.gradient();
        });
        let g2 = |t: f64| format!("{:9.1}us {:5.1} GF/s {:3.0}%", t * 1e6, ops / t, ops / t / peak * 100.0);
        println!("{i:5}x{o:5} B{s:5} shard {shard:4}: fwd {} | bwd {} | grad {}", g2(f), g2(w), g2(g));
    }
}
