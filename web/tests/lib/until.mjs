/** Looks again and again until it is so; fails when that takes too long, with what was seen last. */
export async function until(what, look, limit = 30_000) {
  const end = Date.now() + limit;
  for (let seen; ;) {
    try {
      seen = await look();
      if (seen) return seen;
    } catch (error) {
      seen = error.message;
    }
    if (Date.now() > end) throw new Error(`not in time: ${what} (last seen: ${seen})`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
