/// Signature checking of DNS answers (RFC 4033 to 4035).
package enum DNSSEC {}
