#include "CTLSKeys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

extern _Thread_local struct CTLSKeys_handshake *CTLSKeys_current;

// Handshakes

int CTLSKeys_advance(SSL *ssl, struct CTLSKeys_handshake *handshake) {
    CTLSKeys_current = handshake;
    int result = SSL_do_handshake(ssl);
    CTLSKeys_current = NULL;
    return result;
}

// Negative: the handshake waits, and asks again.
static int has_certificates(SSL *ssl, void *argument) {
    (void)ssl, (void)argument;
    if (!CTLSKeys_current) return 0;
    return CTLSKeys_current->has_certificates ? 1 : -1;
}

struct octets {
    size_t count;
    unsigned char octets[];
};

static void free_octets(void *parent, void *octets, CRYPTO_EX_DATA *data, int index, long argument, void *pointer) {
    (void)parent, (void)data, (void)index, (void)argument, (void)pointer;
    OPENSSL_free(octets);
}

static int response_index = -1;
static void make_response_index(void) {
    response_index = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_X509, 0, NULL, NULL, NULL, free_octets);
}
static int index_of_responses(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_response_index);
    return response_index;
}

int CTLSKeys_staple(X509 *certificate, const unsigned char *response, size_t count) {
    struct octets *copy = OPENSSL_malloc(sizeof(struct octets) + count);
    if (!copy || index_of_responses() < 0) {
        OPENSSL_free(copy);
        return 0;
    }
    copy->count = count;
    memcpy(copy->octets, response, count);
    if (X509_set_ex_data(certificate, index_of_responses(), copy) == 1) return 1;
    OPENSSL_free(copy);
    return 0;
}

static int give_response(SSL *ssl, void *argument) {
    (void)argument;
    X509 *certificate = SSL_get_certificate(ssl);
    struct octets *response = certificate ? X509_get_ex_data(certificate, index_of_responses()) : NULL;
    unsigned char *copy = response ? OPENSSL_memdup(response->octets, response->count) : NULL;
    if (!copy) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)response->count);
    return SSL_TLSEXT_ERR_OK;
}

void CTLSKeys_use(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_ASYNC);
    SSL_CTX_set_cert_cb(context, has_certificates, NULL);
    SSL_CTX_set_tlsext_status_cb(context, give_response);
}

int CTLSKeys_use_as_client(SSL *ssl, const char *signatures) {
    SSL_set_mode(ssl, SSL_MODE_ASYNC);
    return SSL_set1_client_sigalgs_list(ssl, signatures) == 1;
}

// From now on records are made and read without the cost of a job.
void CTLSKeys_end(SSL *ssl) { SSL_clear_mode(ssl, SSL_MODE_ASYNC); }

int CTLSKeys_set_signatures(SSL_CTX *context, const char *list, const char *of_clients) {
    return SSL_CTX_set1_sigalgs_list(context, list) == 1 && SSL_CTX_set1_client_sigalgs_list(context, of_clients) == 1;
}

// Tickets (RFC 5077 section 4)

#define MAXIMUM_KEYS 8

struct ticket_key {
    unsigned char name[16], hmac[32], aes[32];
};

struct CTLSKeys_tickets {
    pthread_mutex_t lock;
    size_t count;
    struct ticket_key keys[MAXIMUM_KEYS];
    EVP_CIPHER *cipher;
};

struct CTLSKeys_tickets *CTLSKeys_tickets_new(void) {
    struct CTLSKeys_tickets *tickets = OPENSSL_zalloc(sizeof *tickets);
    if (!tickets) return NULL;
    pthread_mutex_init(&tickets->lock, NULL);
    // Nobody else has this one: it's for the time until there are others.
    tickets->count = RAND_bytes((unsigned char *)&tickets->keys[0], sizeof tickets->keys[0]) == 1;
    tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    return tickets;
}

void CTLSKeys_tickets_free(struct CTLSKeys_tickets *tickets) {
    if (!tickets) return;
    EVP_CIPHER_free(tickets->cipher);
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_clear_free(tickets, sizeof *tickets);
}

void CTLSKeys_tickets_set(struct CTLSKeys_tickets *tickets, const unsigned char *keys, size_t count) {
    if (count == 0) return;
    if (count > MAXIMUM_KEYS) count = MAXIMUM_KEYS;
    pthread_mutex_lock(&tickets->lock);
    OPENSSL_cleanse(tickets->keys, sizeof tickets->keys);
    memcpy(tickets->keys, keys, count * sizeof(struct ticket_key));
    tickets->count = count;
    pthread_mutex_unlock(&tickets->lock);
}

// The place of a key: of the first one where no name is given.
static int find(struct CTLSKeys_tickets *tickets, const unsigned char *name, struct ticket_key *found) {
    int place = -1;
    pthread_mutex_lock(&tickets->lock);
    for (size_t index = 0; index < tickets->count && place < 0; index++) {
        if (!name || CRYPTO_memcmp(tickets->keys[index].name, name, 16) == 0) place = (int)index;
    }
    if (place >= 0) *found = tickets->keys[place];
    pthread_mutex_unlock(&tickets->lock);
    return place;
}

static int use_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                          int is_new) {
    struct CTLSKeys_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    int place = tickets ? find(tickets, is_new ? NULL : name, &key) : -1;
    if (place < 0) return is_new ? -1 : 0;
    if (is_new) {
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(tickets->cipher)) != 1) return -1;
        memcpy(name, key.name, 16);
    }
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.hmac, sizeof key.hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    int done = EVP_CipherInit_ex2(cipher, tickets->cipher, key.aes, iv, is_new, NULL) == 1 &&
               EVP_MAC_CTX_set_params(mac, params) == 1;
    OPENSSL_cleanse(&key, sizeof key);
    if (!done) return -1;
    // A ticket by an older key is good, and the client gets another.
    return is_new || place == 0 ? 1 : 2;
}

void CTLSKeys_tickets_use(SSL_CTX *context, struct CTLSKeys_tickets *tickets) {
    SSL_CTX_set_app_data(context, tickets);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, use_ticket_key);
}
