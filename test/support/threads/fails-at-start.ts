throw new Error("no listener today");
