/** The kernel suite of Node, unchanged, in a browser. */
import { kernelsSuite } from "../../oracle/kernels-suite.ts";

kernelsSuite("release", 20);
kernelsSuite("debug", 5);
