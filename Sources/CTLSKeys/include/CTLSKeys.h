#pragma once
// TLS without private keys: OpenSSL's handshake is paused (ASYNC_pause_job) until somebody else has signed, or has found the
// certificate. All of it is called on the thread that the handshake runs on.
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTLSKEYS_MAXIMUM_NAME 64
#define CTLSKEYS_MAXIMUM_SIGNATURE 1024

// What one handshake asks for, and what it is told. It must stay where it is until the handshake is over.
struct CTLSKeys_handshake {
    bool has_certificates;
    // A signature: asked for by `is_asked`, answered by `is_answered`, with no octets where there is none.
    bool is_asked, is_answered;
    char key[CTLSKEYS_MAXIMUM_NAME];
    uint16_t scheme;  // RFC 8446 section 4.2.3
    // What is signed, as a whole. OpenSSL's, while `is_asked`.
    size_t count;
    const unsigned char *octets;
    size_t signature_count;
    unsigned char signature[CTLSKEYS_MAXIMUM_SIGNATURE];
};

// SSL_do_handshake for one whose keys are elsewhere.
int CTLSKeys_advance(SSL *ssl, struct CTLSKeys_handshake *handshake);
// Makes a context's handshakes wait for certificates and signatures.
void CTLSKeys_use(SSL_CTX *context);
// Makes a client's handshake wait for the signature that its certificate needs, by one of those schemes.
int CTLSKeys_use_as_client(SSL *ssl, const char *signatures);
void CTLSKeys_end(SSL *ssl);

// A key that is elsewhere, by its name and its public half (SubjectPublicKeyInfo in DER). NULL where OpenSSL refuses.
EVP_PKEY *CTLSKeys_key(const char *name, const unsigned char *information, size_t count);

// Has a response of an OCSP server (RFC 6960, DER) go out with a certificate.
int CTLSKeys_staple(X509 *certificate, const unsigned char *response, size_t count);

// The keys that session tickets are encrypted with; belongs to a context.
struct CTLSKeys_tickets;
struct CTLSKeys_tickets *CTLSKeys_tickets_new(void);
void CTLSKeys_tickets_free(struct CTLSKeys_tickets *tickets);
// `keys`: 80 octets each (name, HMAC, AES), the one for new tickets first. From any thread.
void CTLSKeys_tickets_set(struct CTLSKeys_tickets *tickets, const unsigned char *keys, size_t count);
void CTLSKeys_tickets_use(SSL_CTX *context, struct CTLSKeys_tickets *tickets);

int CTLSKeys_set_signatures(SSL_CTX *context, const char *list, const char *of_clients);
