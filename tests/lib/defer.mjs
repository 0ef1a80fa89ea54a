// defer.mjs - clean-up that runs last in, first out, all of it even when a part fails (t.after runs first in,
// first out).

const stacks = new WeakMap();

export function defer(t, clean) {
  let stack = stacks.get(t);
  if (!stack) {
    stack = [];
    stacks.set(t, stack);
    t.after(async () => {
      const errors = [];
      while (stack.length > 0) {
        try {
          await stack.pop()();
        } catch (error) {
          errors.push(error);
        }
      }
      if (errors.length > 0) throw errors[0];
    });
  }
  stack.push(clean);
}

/** What a suite shares: takes the place of a test's context, and is ended by the suite's after hook. */
export function scope() {
  const ends = [];
  return {
    after: (end) => ends.push(end),
    end: async () => {
      for (const end of ends) await end();
    },
  };
}
