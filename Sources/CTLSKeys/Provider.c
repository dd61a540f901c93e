// A provider for OpenSSL 3 with three kinds of key, each a public half and a name. It lives in a library context of its own, so that nobody
// gets it by chance.
#include "CTLSKeys.h"

#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>

#define NAME_PARAMETER "martlet-name"
#define PUBLIC_PARAMETER "martlet-public"

_Thread_local struct CTLSKeys_handshake *CTLSKeys_current;

struct key {
    EVP_PKEY *public;
    char name[CTLSKEYS_MAXIMUM_NAME];
};

// Keys

static void *key_new(void *provider) {
    (void)provider;
    return OPENSSL_zalloc(sizeof(struct key));
}

static void key_free(void *data) {
    struct key *key = data;
    if (!key) return;
    EVP_PKEY_free(key->public);
    OPENSSL_free(key);
}

static int key_has(const void *data, int selection) {
    const struct key *key = data;
    (void)selection;
    return key && key->public;
}

static int key_match(const void *first, const void *second, int selection) {
    (void)selection;
    return EVP_PKEY_eq(((const struct key *)first)->public, ((const struct key *)second)->public) == 1;
}

static int key_get_params(void *data, OSSL_PARAM params[]) {
    struct key *key = data;
    EVP_PKEY_get_params(key->public, params);
    return 1;
}

static const OSSL_PARAM *key_gettable(void *provider) {
    (void)provider;
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };
    return known;
}

// Ours, or a public key of another provider that is to be compared with one of ours.
static int key_import(struct key *key, const char *kind, const OSSL_PARAM params[]) {
    const OSSL_PARAM *name = OSSL_PARAM_locate_const(params, NAME_PARAMETER);
    const OSSL_PARAM *information = OSSL_PARAM_locate_const(params, PUBLIC_PARAMETER);
    EVP_PKEY_free(key->public);
    key->public = NULL;
    if (name && information) {
        const void *octets;
        size_t count;
        char *text = key->name;
        if (!OSSL_PARAM_get_utf8_string(name, &text, sizeof key->name)) return 0;
        if (!OSSL_PARAM_get_octet_string_ptr(information, &octets, &count)) return 0;
        const unsigned char *position = octets;
        key->public = d2i_PUBKEY(NULL, &position, (long)count);
        return key->public != NULL;
    }
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    int done = context && EVP_PKEY_fromdata_init(context) == 1 &&
               EVP_PKEY_fromdata(context, &key->public, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)params) == 1;
    EVP_PKEY_CTX_free(context);
    return done;
}

static int key_import_rsa(void *key, int selection, const OSSL_PARAM params[]) {
    (void)selection;
    return key_import(key, "RSA", params);
}
static int key_import_ec(void *key, int selection, const OSSL_PARAM params[]) {
    (void)selection;
    return key_import(key, "EC", params);
}
static int key_import_ed25519(void *key, int selection, const OSSL_PARAM params[]) {
    (void)selection;
    return key_import(key, "ED25519", params);
}

static const OSSL_PARAM *key_import_types(int selection) {
    (void)selection;
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_utf8_string(NAME_PARAMETER, NULL, 0),
        OSSL_PARAM_octet_string(PUBLIC_PARAMETER, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };
    return known;
}

// Nothing leaves: so OpenSSL signs with us and not with somebody to whom it has given the key.
static int key_export(void *key, int selection, OSSL_CALLBACK *callback, void *argument) {
    (void)key, (void)selection, (void)callback, (void)argument;
    return 0;
}

static const char *key_operation_rsa(int operation) {
    return operation == OSSL_OP_SIGNATURE ? "RSA" : NULL;
}
static const char *key_operation_ec(int operation) { return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL; }
static const char *key_operation_ed25519(int operation) {
    return operation == OSSL_OP_SIGNATURE ? "ED25519" : NULL;
}

#define KEY_FUNCTIONS(kind)                                                           \
    static const OSSL_DISPATCH key_functions_##kind[] = {                             \
        {OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))key_new},                             \
        {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))key_free},                           \
        {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))key_has},                             \
        {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))key_match},                         \
        {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))key_get_params},               \
        {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))key_gettable},            \
        {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))key_import_##kind},                \
        {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))key_import_types},           \
        {OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))key_export},                       \
        {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))key_import_types},           \
        {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))key_operation_##kind}, \
        {0, NULL},                                                                    \
    }
KEY_FUNCTIONS(rsa);
KEY_FUNCTIONS(ec);
KEY_FUNCTIONS(ed25519);

// Signatures

struct signing {
    const struct key *key;
    EVP_MD *digest;
    int is_pss;
};

static void *signing_new(void *provider, const char *query) {
    (void)provider, (void)query;
    return OPENSSL_zalloc(sizeof(struct signing));
}

static void signing_free(void *data) {
    struct signing *signing = data;
    if (!signing) return;
    EVP_MD_free(signing->digest);
    OPENSSL_free(signing);
}

static int signing_set(void *data, const OSSL_PARAM params[]) {
    struct signing *signing = data;
    const OSSL_PARAM *padding = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE) : NULL;
    if (!padding) return 1;
    int mode = 0;
    if (padding->data_type == OSSL_PARAM_UTF8_STRING) {
        signing->is_pss = strcmp(padding->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0;
        return signing->is_pss || strcmp(padding->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0;
    }
    if (!OSSL_PARAM_get_int(padding, &mode)) return 0;
    signing->is_pss = mode == RSA_PKCS1_PSS_PADDING;
    return mode == RSA_PKCS1_PSS_PADDING || mode == RSA_PKCS1_PADDING;
}

static const OSSL_PARAM *signing_settable(void *signing, void *provider) {
    (void)signing, (void)provider;
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL),
        // TLS has salts as long as the digest, and that is what is signed with.
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_END,
    };
    return known;
}

static int signing_begin(void *data, const char *digest, void *key, const OSSL_PARAM params[]) {
    struct signing *signing = data;
    if (!key) return 0;
    signing->key = key;
    EVP_MD_free(signing->digest);
    signing->digest = NULL;
    if (digest && *digest && !(signing->digest = EVP_MD_fetch(NULL, digest, NULL))) return 0;
    return signing_set(signing, params);
}

// 0 for what isn't signed so.
static uint16_t scheme(const struct signing *signing) {
    if (EVP_PKEY_is_a(signing->key->public, "ED25519")) return signing->digest ? 0 : 0x0807;
    if (!signing->digest) return 0;
    uint16_t hash;
    switch (EVP_MD_get_type(signing->digest)) {
    case NID_sha256: hash = 4; break;
    case NID_sha384: hash = 5; break;
    case NID_sha512: hash = 6; break;
    default: return 0;
    }
    if (EVP_PKEY_is_a(signing->key->public, "RSA")) {
        return signing->is_pss ? (uint16_t)(0x0800 | hash) : (uint16_t)(hash << 8 | 1);
    }
    return (uint16_t)(hash << 8 | 3);
}

static int signing_sign(void *data, unsigned char *signature, size_t *count, size_t space, const unsigned char *octets,
                        size_t octet_count) {
    struct signing *signing = data;
    if (!signature) {
        *count = (size_t)EVP_PKEY_get_size(signing->key->public);
        return 1;
    }
    struct CTLSKeys_handshake *handshake = CTLSKeys_current;
    if (!handshake || !ASYNC_get_current_job()) return 0;
    if (!(handshake->scheme = scheme(signing))) return 0;
    handshake->octets = octets;
    handshake->count = octet_count;
    memcpy(handshake->key, signing->key->name, sizeof handshake->key);
    handshake->signature_count = 0;
    handshake->is_answered = false;
    handshake->is_asked = true;
    // The thread's `CTLSKeys_current` may be another's meanwhile.
    while (!handshake->is_answered) {
        if (!ASYNC_pause_job()) return 0;
    }
    handshake->is_asked = false;
    handshake->octets = NULL;
    handshake->count = 0;
    if (handshake->signature_count == 0 || handshake->signature_count > space) return 0;
    memcpy(signature, handshake->signature, handshake->signature_count);
    *count = handshake->signature_count;
    return 1;
}

static const OSSL_DISPATCH signing_functions[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))signing_new},
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))signing_free},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))signing_begin},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))signing_sign},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))signing_set},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))signing_settable},
    {0, NULL},
};

// The provider

static const OSSL_ALGORITHM keys[] = {
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=martlet", key_functions_rsa, NULL},
    {"EC:id-ecPublicKey:1.2.840.10045.2.1", "provider=martlet", key_functions_ec, NULL},
    {"ED25519:1.3.101.112", "provider=martlet", key_functions_ed25519, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM signatures[] = {
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=martlet", signing_functions, NULL},
    {"ECDSA", "provider=martlet", signing_functions, NULL},
    {"ED25519:1.3.101.112", "provider=martlet", signing_functions, NULL},
    {NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_store) {
    (void)provider;
    *no_store = 0;
    return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int initialize(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **context) {
    (void)in;
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {0, NULL},
    };
    *out = functions;
    *context = (void *)handle;
    return 1;
}

static OSSL_LIB_CTX *library;

static void load(void) {
    OSSL_LIB_CTX *fresh = OSSL_LIB_CTX_new();
    if (fresh && OSSL_PROVIDER_add_builtin(fresh, "martlet", initialize) == 1 && OSSL_PROVIDER_load(fresh, "martlet")) {
        library = fresh;
    }
}

EVP_PKEY *CTLSKeys_key(const char *name, const unsigned char *information, size_t count) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!library) return NULL;
    const unsigned char *position = information;
    EVP_PKEY *public = d2i_PUBKEY(NULL, &position, (long)count);
    if (!public) return NULL;
    const char *kind = EVP_PKEY_is_a(public, "RSA") ? "RSA" : EVP_PKEY_is_a(public, "EC") ? "EC" : "ED25519";
    EVP_PKEY_free(public);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(NAME_PARAMETER, (char *)name, 0),
        OSSL_PARAM_construct_octet_string(PUBLIC_PARAMETER, (void *)information, count),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(library, kind, NULL);
    if (context && EVP_PKEY_fromdata_init(context) == 1) EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params);
    EVP_PKEY_CTX_free(context);
    return key;
}
