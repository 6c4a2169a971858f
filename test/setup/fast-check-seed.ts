import fc from 'fast-check';

// vitest.config.ts chose the seed and printed it; every property of the run starts from it.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env['FC_SEED']) });
