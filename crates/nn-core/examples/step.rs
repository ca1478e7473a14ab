//! temp
#![allow(unsafe_code)]
use nn_core::*;
use std::sync::Arc;
#[allow(clippy::disallowed_methods)]
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let threads: usize = args.get(1).map_or(1, |a| a.parse().unwrap());
    let isa = args.get(2).map_or(Isa::best(), |n| Isa::by_name(n).unwrap());
    let only: Option<usize> = args.get(3).map(|a| a.parse().unwrap());
    for (ci, (w, b, act, steps)) in [
        (vec![784, 30, 10], 10, Activation::Sigmoid, 1500),
        (vec![784, 128, 10], 32, Activation::Relu, 500),
        (vec![784, 512, 256, 10], 128, Activation::Relu, 50),
        (vec![784, 512, 256, 10], 1024, Activation::Relu, 6),
        (vec![784, 2500, 2000, 1500, 1000, 500, 10], 256, Activation::Tanh, 1),
    ]
    .into_iter()
    .enumerate()
    {
        if only.is_some_and(|o| o != ci) {
            continue;
        }
        let model = Model::new(w.clone(), act, Output::Softmax, Cost::CrossEntropy).unwrap();
        let n = 60000;
        let mut s = 1u64;
        let data: Vec<u8> = (0..n * 784)
            .map(|_| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (s >> 56) as u8
            })
            .collect();
        let labels = (0..n).map(|i| (i % 10) as u32).collect();
        let data = Dataset::new(
            Features::U8 { data, scale: 255.0 },
            784,
            Targets::Classes { labels, classes: 10 },
            None,
        )
        .unwrap();
        let threads = Arc::new(Threads::new(threads).unwrap());
        let small = std::env::var("SMALL").is_ok();
        let ip = initial_parameters(&model, Init::Scaled, 1);
        let mut params = if small { ip.clone() } else { zeroed(ip.len()) };
        params.copy_from_slice(&ip);
        let mut grad = if small { vec![0.0; params.len()] } else { zeroed(params.len()) };
        let mut order = vec![0; n];
        permutation(1, Purpose::Shuffle, 0, &mut order);
        let mut ws = Workspace::new(&model, b, threads.clone(), isa);
        let mut opt = OptimizerState::new(Optimizer::Sgd, &model);
        for shard in [b.div_ceil(8).min(32), b] {
            let mut best = f64::MAX;
            let mut split = (0.0, 0.0);
            let mut at = 0;
            for _ in 0..20 {
                let (mut tg, mut tu) = (0.0, 0.0);
                let cpu = || {
                    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
                    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
                };
                let c0 = cpu();
                threads.enter(|| {
                    for _ in 0..steps {
                        let t = std::time::Instant::now();
                        let st =
                            ws.node_gradient(&params, &data, &order[at..at + b], shard, &mut grad).unwrap();
                        let t2 = std::time::Instant::now();
                        opt.step(isa, &threads, &mut params, &grad, st.samples, 0, 0.01, 0.0);
                        at = (at + b) % (n - b);
                        tu += t2.elapsed().as_secs_f64();
                        tg += (t2 - t).as_secs_f64();
                    }
                });
                if threads.count() == 1 {
                    let c = cpu() - c0;
                    let r = c / (tg + tu);
                    tg *= r;
                    tu *= r;
                }
                let each = (tg + tu) / steps as f64 * 1e6;
                if each < best {
                    best = each;
                    split = (tg / steps as f64 * 1e6, tu / steps as f64 * 1e6)
                }
            }
            let p0 = w[0] * w[1];
            let p: usize = w.windows(2).map(|x| x[0] * x[1]).sum();
            let fl = (2 * (3 * p - p0) * b) as f64;
            println!(
                "{w:?} B{b} shard {shard}: {best:.1} us (grad {:.1} update {:.1}) {:.1} GF/s",
                split.0,
                split.1,
                fl / best / 1e3
            );
        }
    }
}
