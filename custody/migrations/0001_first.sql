-- Constraints do the guarding: what they forbid, no bug above them can do.

CREATE TABLE signer (
  audit_key text PRIMARY KEY,
  policy bytea NOT NULL,
  policy_digest text NOT NULL,
  book_version integer NOT NULL,
  book_digest text NOT NULL,
  seen timestamptz NOT NULL
);

CREATE TABLE book_version (
  version integer PRIMARY KEY CHECK (version > 0),
  digest text NOT NULL UNIQUE,
  statement bytea NOT NULL,
  changes bytea NOT NULL,
  applied boolean NOT NULL DEFAULT false,
  refusal text NOT NULL DEFAULT ''
);

CREATE TABLE book_entry (
  network text NOT NULL,
  address text NOT NULL,
  memo text NOT NULL,
  label text NOT NULL,
  PRIMARY KEY (network, address, memo)
);

-- Base units. `total` is what our own books say; `minimum` is what the chain wants to stay in the account.
CREATE TABLE balance (
  wallet text PRIMARY KEY,
  asset text NOT NULL,
  total bigint NOT NULL DEFAULT 0,
  in_use bigint NOT NULL DEFAULT 0,
  minimum bigint NOT NULL DEFAULT 0 CHECK (minimum >= 0),
  CHECK (in_use >= 0 AND in_use <= total)
);

CREATE TABLE withdrawal (
  sequence bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  digest text PRIMARY KEY,
  requester text NOT NULL,
  request_id text NOT NULL,
  statement bytea NOT NULL,
  signature bytea NOT NULL,
  wallet text NOT NULL,
  network text NOT NULL,
  asset text NOT NULL,
  address text NOT NULL,
  memo text NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  expires bigint NOT NULL,
  state text NOT NULL CHECK (state IN ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'SIGNED', 'BROADCASTING',
    'CONFIRMING', 'COMPLETED', 'BLOCKED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED')),
  waiting_for text NOT NULL DEFAULT '',
  retry_at timestamptz NOT NULL DEFAULT now(),
  reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  nonce_index integer,
  nonce_value bytea,
  unit_price bigint NOT NULL DEFAULT 0,
  transaction bytea,
  transaction_id text UNIQUE,
  fee bigint,
  refused_by text NOT NULL DEFAULT '',
  refusal_code text NOT NULL DEFAULT '',
  refusal_rule text NOT NULL DEFAULT '',
  refusal_message text NOT NULL DEFAULT '',
  create_time timestamptz NOT NULL DEFAULT now(),
  update_time timestamptz NOT NULL DEFAULT now(),
  UNIQUE (requester, request_id),
  CHECK ((transaction IS NULL) = (state IN ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'BLOCKED', 'REJECTED',
    'CANCELLED', 'EXPIRED')))
);

CREATE INDEX withdrawal_live ON withdrawal (state, retry_at) WHERE state IN
  ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'SIGNED', 'BROADCASTING', 'CONFIRMING');
CREATE INDEX withdrawal_requester ON withdrawal (requester, sequence);

CREATE TABLE approval (
  sequence bigint GENERATED ALWAYS AS IDENTITY,
  withdrawal text NOT NULL REFERENCES withdrawal,
  digest text NOT NULL,
  approver text NOT NULL,
  decision text NOT NULL CHECK (decision IN ('approve', 'reject')),
  policy text NOT NULL,
  expires bigint NOT NULL,
  statement bytea NOT NULL,
  signature bytea NOT NULL,
  PRIMARY KEY (withdrawal, digest)
);

-- A pool of durable nonces: each stands in at most one transaction under way.
CREATE TABLE nonce (
  wallet text NOT NULL,
  index integer NOT NULL,
  value bytea,
  holder text UNIQUE REFERENCES withdrawal,
  opening_id text,
  opening_transaction bytea,
  opening_time timestamptz NOT NULL DEFAULT now(),
  reserved bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (wallet, index)
);

-- Every movement of our books, and every step of every withdrawal. Only added to.
CREATE TABLE ledger_entry (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  wallet text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('inflow', 'withdrawal', 'fee', 'nonce')),
  amount bigint NOT NULL,
  reference text NOT NULL,
  time timestamptz NOT NULL DEFAULT now(),
  UNIQUE (kind, reference)
);

CREATE TABLE event (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  withdrawal text NOT NULL REFERENCES withdrawal,
  event text NOT NULL,
  state text NOT NULL,
  actor text NOT NULL,
  time timestamptz NOT NULL DEFAULT now()
);
