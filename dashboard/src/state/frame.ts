/** One look at the screen per animation frame, however many events arrive. */

/** A function that runs `work` in the next frame, once, however often it is called until then. */
export function oncePerFrame(work: () => void): () => void {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      work();
    });
  };
}
