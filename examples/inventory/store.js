// The resource that the lock protects: a real SQL database in one file, shared by all processes.
//
// Why SQLite: nothing to set up, and several processes can share it. Why this build of it: WebAssembly, so there is
// nothing to compile or download either. In your system this is Postgres, S3, a payment provider, …

import sqlite from 'node-sqlite3-wasm';

/** Opens the store, making its tables if needed. */
export function openStore(file) {
  const db = new sqlite.Database(file);
  db.exec('PRAGMA busy_timeout = 10000');
  return new Store(db);
}

class Store {
  #db;

  constructor(db) {
    this.#db = db;
  }

  /** Starts over with `stock` pieces of `item` and no sales. */
  reset(item, stock) {
    this.#db.exec(
      'CREATE TABLE IF NOT EXISTS items (item TEXT PRIMARY KEY, stock INTEGER NOT NULL, fence INTEGER NOT NULL)',
    );
    this.#db.exec('CREATE TABLE IF NOT EXISTS sales (item TEXT NOT NULL, buyer TEXT NOT NULL, token INTEGER NOT NULL)');
    this.#transaction(() => {
      this.#db.run('INSERT OR REPLACE INTO items VALUES (?, ?, 0)', [item, stock]);
      this.#db.run('DELETE FROM sales WHERE item = ?', [item]);
    });
  }

  /** What the shelf says. */
  stock(item) {
    return this.#db.get('SELECT stock FROM items WHERE item = ?', [item]).stock;
  }

  /** Who bought, in order. */
  sales(item) {
    return this.#db.all('SELECT buyer, token FROM sales WHERE item = ? ORDER BY rowid', [item]);
  }

  /**
   * Remembers `token` as the highest seen and refuses lower ones. A new holder calls it BEFORE it reads: until the
   * new token has reached the store, writes of the holder before it would still land.
   */
  raiseFence(item, token) {
    return this.#transaction(() => this.#passFence(item, token));
  }

  /** Writes the new stock and the sale, if `token` is not older than one already seen: in ONE transaction with the data. */
  sell(item, newStock, buyer, token) {
    return this.#transaction(() => {
      if (!this.#passFence(item, token)) return false;
      this.#db.run('UPDATE items SET stock = ? WHERE item = ?', [newStock, item]);
      this.#db.run('INSERT INTO sales VALUES (?, ?, ?)', [item, buyer, token]);
      return true;
    });
  }

  close() {
    this.#db.close();
  }

  /** The same token must pass again: a holder writes more than once. */
  #passFence(item, token) {
    const { fence } = this.#db.get('SELECT fence FROM items WHERE item = ?', [item]);
    if (token < fence) return false;
    this.#db.run('UPDATE items SET fence = ? WHERE item = ?', [token, item]);
    return true;
  }

  #transaction(body) {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = body();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}
