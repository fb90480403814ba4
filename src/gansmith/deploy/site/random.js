// The numbers that PyTorch draws from a seed on a CPU: one seed is one image here too.

// The 32-bit Mersenne Twister (Matsumoto and Nishimura 1998), seeded as PyTorch and NumPy do.
export class MersenneTwister {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = Number(BigInt.asUintN(32, BigInt(seed)));
    for (let i = 1; i < 624; i++) {
      const last = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
    }
    this.next = 624;
  }

  twist() {
    const state = this.state;
    for (let i = 0; i < 624; i++) {
      const mixed = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  // An integer of 32 bits.
  word() {
    if (this.next === 624) this.twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  // A number in [0, 1) of 24 bits.
  single() {
    return (this.word() & 0xffffff) / 2 ** 24;
  }

  // A number in [0, 1) of 53 bits.
  double() {
    const high = this.word() & 0x1fffff;
    return (high * 2 ** 32 + this.word()) / 2 ** 53;
  }
}

// The latent of a stream: standard "normal", or "uniform" in [-1, 1].
export function drawLatent(stream, length, distribution) {
  if (distribution === "uniform") return Float32Array.from({ length }, () => stream.single() * 2 - 1);
  return length < 16 ? drawPairs(stream, length) : drawBlocks(stream, length);
}

// Normal variates in blocks of 16 (Box and Muller 1958); the last block may overlap the one before.
function drawBlocks(stream, length) {
  const z = Float64Array.from({ length }, () => stream.single());
  for (let i = 0; i + 16 <= length; i += 16) turnBlock(z, i);
  if (length % 16) {
    for (let i = length - 16; i < length; i++) z[i] = stream.single();
    turnBlock(z, length - 16);
  }
  return Float32Array.from(z);
}

function turnBlock(z, first) {
  for (let i = first; i < first + 8; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - z[i]));
    const angle = 2 * Math.PI * z[i + 8];
    z[i] = radius * Math.cos(angle);
    z[i + 8] = radius * Math.sin(angle);
  }
}

function drawPairs(stream, length) {
  const z = new Float32Array(length);
  for (let i = 0; i < length; i += 2) {
    const angle = 2 * Math.PI * stream.double();
    const radius = Math.sqrt(-2 * Math.log1p(-stream.double()));
    z[i] = radius * Math.cos(angle);
    if (i + 1 < length) z[i + 1] = radius * Math.sin(angle);
  }
  return z;
}

// A class with a probability proportional to its count; of a stream whose latent has been drawn.
export function drawClass(stream, counts) {
  if (!counts.length) return 0;
  const ratios = counts.map((count) => count / -Math.log1p(-stream.double()));
  return ratios.indexOf(Math.max(...ratios));
}

// The latent and the class of a seed.
export function drawSeed(seed, model) {
  const stream = new MersenneTwister(seed);
  const z = drawLatent(stream, model.latent_dimension, model.latent_distribution);
  return { z, label: model.classes.length ? drawClass(stream, model.class_counts) : null };
}
