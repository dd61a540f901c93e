#pragma once
// What Swift cannot import by itself: macros over SSL_ctrl and friends, each as one small function.
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <time.h>

static inline int COpenSSL_set_min_proto_version(SSL_CTX *context, int version) {
    return (int)SSL_CTX_set_min_proto_version(context, version);
}
static inline long COpenSSL_set_mode(SSL_CTX *context, long mode) { return SSL_CTX_set_mode(context, mode); }
static inline int COpenSSL_set_server_name(SSL *ssl, const char *name) {
    return (int)SSL_set_tlsext_host_name(ssl, name);
}
static inline long COpenSSL_mem_data(BIO *bio, char **data) { return BIO_get_mem_data(bio, data); }
static inline size_t COpenSSL_pending(BIO *bio) { return BIO_ctrl_pending(bio); }
static inline long COpenSSL_mem_eof_return(BIO *bio, int value) { return BIO_set_mem_eof_return(bio, value); }
static inline long COpenSSL_session_cache_mode(SSL_CTX *context, long mode) {
    return SSL_CTX_set_session_cache_mode(context, mode);
}
// How many certificates of authorities a context has loaded.
static inline int COpenSSL_authority_count(SSL_CTX *context) {
    return sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(context)));
}
// The protocols that a server speaks, each behind its length, the preferred one first (RFC 7301 §3.1).
struct COpenSSL_protocols {
    unsigned int length;
    unsigned char list[256];
};
static inline int COpenSSL_select_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                                           const unsigned char *offered, unsigned int offered_length, void *own) {
    const struct COpenSSL_protocols *protocols = (const struct COpenSSL_protocols *)own;
    (void)ssl;
    int result = SSL_select_next_proto((unsigned char **)chosen, length, protocols->list, protocols->length, offered,
                                       offered_length);
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}
static inline void COpenSSL_select_from(SSL_CTX *context, struct COpenSSL_protocols *protocols) {
    SSL_CTX_set_alpn_select_cb(context, COpenSSL_select_protocol, protocols);
}
static inline uint64_t COpenSSL_no_renegotiation(void) { return SSL_OP_NO_RENEGOTIATION; }
static inline uint64_t COpenSSL_server_order(void) { return SSL_OP_CIPHER_SERVER_PREFERENCE; }
static inline uint64_t COpenSSL_no_tickets(void) { return SSL_OP_NO_TICKET; }
static inline int COpenSSL_session_reused(SSL *ssl) { return SSL_session_reused(ssl); }
static inline long COpenSSL_set_maximum_chain(SSL_CTX *context, long octets) {
    return SSL_CTX_set_max_cert_list(context, octets);
}
static inline uint64_t COpenSSL_no_compression(void) { return SSL_OP_NO_COMPRESSION; }
static inline void COpenSSL_free(void *memory) { OPENSSL_free(memory); }
static inline EVP_PKEY *COpenSSL_generate(const char *type) { return EVP_PKEY_Q_keygen(NULL, NULL, type); }
static inline EVP_PKEY *COpenSSL_generate_rsa(size_t bits) { return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits); }
/* The public key of a point, uncompressed; NULL where it isn't on the curve. */
static inline EVP_PKEY *COpenSSL_point(char *curve, unsigned char *point, size_t length) {
    OSSL_PARAM parameters[] = { OSSL_PARAM_construct_utf8_string("group", curve, 0),
                                OSSL_PARAM_construct_octet_string("pub", point, length), OSSL_PARAM_construct_end() };
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;
    if (EVP_PKEY_fromdata_init(context) == 1) EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters);
    EVP_PKEY_CTX_free(context);
    return key;
}
static inline EVP_PKEY *COpenSSL_generate_ec(const char *curve) { return EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve); }
// Whether an attacker in the middle can't have two connections with the same secrets (RFC 7627).
static inline int COpenSSL_has_extended_master_secret(SSL *ssl) {
    return SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1;
}
// The certificates behind the first one that the peer has shown.
static inline int COpenSSL_chain_count(const STACK_OF(X509) *chain) { return sk_X509_num(chain); }
static inline X509 *COpenSSL_chain_element(const STACK_OF(X509) *chain, int index) {
    return sk_X509_value(chain, index);
}
static inline STACK_OF(X509) *COpenSSL_new_chain(void) { return sk_X509_new_null(); }
static inline int COpenSSL_chain_push(STACK_OF(X509) *chain, X509 *certificate) {
    return sk_X509_push(chain, certificate);
}
static inline void COpenSSL_free_chain(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }
// The name of an e-mail address among a certificate's alternative names (RFC 5280 §4.2.1.6), by its index; NULL for
// names of other kinds. The octets belong to the list.
static inline int COpenSSL_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
static inline const unsigned char *COpenSSL_mailbox_name(const GENERAL_NAMES *names, int index, int *length) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    if (name->type != GEN_EMAIL) return NULL;
    *length = ASN1_STRING_length(name->d.rfc822Name);
    return ASN1_STRING_get0_data(name->d.rfc822Name);
}
// The name of a host, likewise.
static inline const unsigned char *COpenSSL_host_name(const GENERAL_NAMES *names, int index, int *length) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    if (name->type != GEN_DNS) return NULL;
    *length = ASN1_STRING_length(name->d.dNSName);
    return ASN1_STRING_get0_data(name->d.dNSName);
}
// The last common name of a certificate's subject, which belongs to the certificate; NULL where there is none.
static inline const unsigned char *COpenSSL_common_name(X509 *certificate, int *length) {
    X509_NAME *subject = X509_get_subject_name(certificate);
    int last = -1;
    for (int index = -1; (index = X509_NAME_get_index_by_NID(subject, NID_commonName, index)) >= 0;) last = index;
    if (last < 0) return NULL;
    ASN1_STRING *name = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last));
    *length = ASN1_STRING_length(name);
    return ASN1_STRING_get0_data(name);
}
// Whether an error says that a PEM file has no more in it.
static inline int COpenSSL_is_end_of_pem(unsigned long error) {
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}
static inline void COpenSSL_free_names(GENERAL_NAMES *names) { GENERAL_NAMES_free(names); }
// Lets the handshake go on whatever the client's certificate is worth; SSL_get_verify_result says what it is.
static inline int COpenSSL_accept_any(int ok, X509_STORE_CTX *store) {
    (void)ok;
    (void)store;
    return 1;
}
static inline void COpenSSL_ask_for_certificate(SSL_CTX *context) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, COpenSSL_accept_any);
}
// What belongs to a connection, for callbacks.
static inline void COpenSSL_set_app_data(SSL *ssl, void *data) { SSL_set_app_data(ssl, data); }
static inline void *COpenSSL_app_data(SSL *ssl) { return SSL_get_app_data(ssl); }
// For DANE-EE, names don't count (RFC 7672 §3.1.1).
static inline unsigned long COpenSSL_no_end_entity_names(void) { return DANE_FLAG_NO_DANE_EE_NAMECHECKS; }
static inline void COpenSSL_observe_certificate(SSL *ssl) { SSL_set_verify(ssl, SSL_VERIFY_PEER, COpenSSL_accept_any); }

// What a response of an OCSP server (RFC 6960) says of a certificate.
enum COpenSSL_ocsp {
    COpenSSL_ocsp_good,
    COpenSSL_ocsp_malformed,
    // The server had no answer (section 4.2.1): its reason is in `detail`.
    COpenSSL_ocsp_refused,
    // It's about other certificates.
    COpenSSL_ocsp_other,
    // Neither the issuer nor somebody whom the issuer lets sign has signed it.
    COpenSSL_ocsp_unsigned,
    COpenSSL_ocsp_revoked,
    COpenSSL_ocsp_unknown,
};
static inline bool COpenSSL_ocsp_time(const ASN1_GENERALIZEDTIME *time, struct tm *found) {
    return time && ASN1_TIME_to_tm(time, found) == 1;
}
// `begins` and `ends` are set where it's good; `has_end` says whether there is an end.
static inline enum COpenSSL_ocsp COpenSSL_ocsp_read(const unsigned char *octets, long count, X509 *certificate, X509 *issuer,
                                                    int *detail, struct tm *begins, struct tm *ends, bool *has_end) {
    const unsigned char *position = octets;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &position, count);
    OCSP_BASICRESP *basic = NULL;
    X509_STORE *store = NULL;
    STACK_OF(X509) *signers = NULL;
    enum COpenSSL_ocsp result = COpenSSL_ocsp_malformed;
    if (!response || position != octets + count) goto end;
    if ((*detail = OCSP_response_status(response)) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        result = COpenSSL_ocsp_refused;
        goto end;
    }
    if (!(basic = OCSP_response_get1_basic(response))) goto end;
    // The server says by which hash it names certificates.
    OCSP_SINGLERESP *single = NULL;
    for (int index = 0; index < OCSP_resp_count(basic) && !single; index++) {
        OCSP_SINGLERESP *candidate = OCSP_resp_get0(basic, index);
        const OCSP_CERTID *name = OCSP_SINGLERESP_get0_id(candidate);
        ASN1_OBJECT *algorithm = NULL;
        if (OCSP_id_get0_info(NULL, &algorithm, NULL, NULL, (OCSP_CERTID *)name) != 1) continue;
        const EVP_MD *digest = EVP_get_digestbyobj(algorithm);
        OCSP_CERTID *own = digest ? OCSP_cert_to_id(digest, certificate, issuer) : NULL;
        if (own && OCSP_id_cmp(own, name) == 0) single = candidate;
        OCSP_CERTID_free(own);
    }
    result = COpenSSL_ocsp_other;
    if (!single) goto end;
    result = COpenSSL_ocsp_unsigned;
    if (!(store = X509_STORE_new()) || !(signers = sk_X509_new_null()) || X509_STORE_add_cert(store, issuer) != 1 ||
        sk_X509_push(signers, issuer) <= 0)
        goto end;
    // The issuer is trusted here, whoever has issued it.
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    if (OCSP_basic_verify(basic, signers, store, 0) <= 0) goto end;
    ASN1_GENERALIZEDTIME *first = NULL, *last = NULL;
    int status = OCSP_single_get0_status(single, detail, NULL, &first, &last);
    result = COpenSSL_ocsp_malformed;
    if (!COpenSSL_ocsp_time(first, begins)) goto end;
    *has_end = last != NULL;
    if (last && !COpenSSL_ocsp_time(last, ends)) goto end;
    result = status == V_OCSP_CERTSTATUS_GOOD      ? COpenSSL_ocsp_good
             : status == V_OCSP_CERTSTATUS_REVOKED ? COpenSSL_ocsp_revoked
                                                   : COpenSSL_ocsp_unknown;
end:
    sk_X509_free(signers);
    X509_STORE_free(store);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return result;
}
